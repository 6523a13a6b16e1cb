package main

import (
	"context"
	"errors"
	"sync"

	"numcheck.example/client/numcheckv1"
)

const (
	callsMax     = 4
	batchSizeMax = 10_000
)

// Answer is what the node knows about a number.
type Answer struct {
	Status       numcheckv1.NumberStatus
	OperatorID   uint32 // 0: none
	IndexVersion uint64
}

type asked struct {
	number   uint64
	answered chan<- result
}

type result struct {
	answer Answer
	err    error
}

// Batches gathers checks that are made at the same time. A batch is sent as soon as fewer than callsMax calls are under
// way; checks that come meanwhile are the next batch. So a check alone is sent at once, and batches grow with the load.
type Batches struct {
	ask     func([]uint64) (*numcheckv1.CheckNumbersResponse, error)
	mutex   sync.Mutex
	waiting []asked
	calls   int
}

// Check returns the answer about a number, or the error of its batch's call; or of the context, if that ends first.
func (batches *Batches) Check(ctx context.Context, number uint64) (Answer, error) {
	answered := make(chan result, 1)
	batches.mutex.Lock()
	batches.waiting = append(batches.waiting, asked{number, answered})
	begins := batches.calls < callsMax
	if begins {
		batches.calls++
	}
	batches.mutex.Unlock()
	if begins {
		go batches.sendWaiting()
	}
	select {
	case one := <-answered:
		return one.answer, one.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

func (batches *Batches) sendWaiting() {
	for {
		batches.mutex.Lock()
		size := len(batches.waiting)
		if size == 0 {
			batches.calls--
			batches.mutex.Unlock()
			return
		}
		if size > batchSizeMax {
			size = batchSizeMax
		}
		batch := batches.waiting[:size:size]
		batches.waiting = batches.waiting[size:]
		batches.mutex.Unlock()
		batches.send(batch)
	}
}

func (batches *Batches) send(batch []asked) {
	numbers := make([]uint64, len(batch))
	for place, one := range batch {
		numbers[place] = one.number
	}
	answer, err := batches.ask(numbers)
	if err == nil && (len(answer.Statuses) != len(batch) || len(answer.OperatorIds) != len(batch)) {
		err = errors.New("the node answered about another count of numbers than it was asked")
	}
	for place, one := range batch {
		if err != nil {
			one.answered <- result{err: err}
		} else {
			one.answered <- result{answer: Answer{answer.Statuses[place], answer.OperatorIds[place], answer.IndexVersion}}
		}
	}
}
