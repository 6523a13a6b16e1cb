// Asks a node about numbers, as many at the same time as there are:
//
//	ask [-authority FILE -certificate FILE -key FILE] TARGET NUMBER...
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"numcheck.example/client/numcheckv1"
)

const (
	deadline = 5 * time.Second
	// Each node in turn; a check that met one which is away is repeated, by another.
	serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{
		"name": [{"service": "numcheck.v1.CheckService"}],
		"retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 4,
			"retryableStatusCodes": ["UNAVAILABLE"]}}]}`
)

func main() {
	authority := flag.String("authority", "", "PEM of who issued the node's certificate; without it, plaintext")
	certificate := flag.String("certificate", "", "PEM of the client's certificate")
	key := flag.String("key", "", "PEM of its key")
	flag.Parse()
	if flag.NArg() < 2 {
		log.Fatal("usage: ask [-authority FILE -certificate FILE -key FILE] TARGET NUMBER...")
	}
	channel, err := grpc.Dial(flag.Arg(0), security(*authority, *certificate, *key),
		grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		log.Fatal(err)
	}
	defer channel.Close()
	client := numcheckv1.NewCheckServiceClient(channel)
	askTogether(client, flag.Args()[1:])
	askText(client, "no number")
}

func security(authority, certificate, key string) grpc.DialOption {
	if authority == "" {
		return grpc.WithInsecure()
	}
	issuer, err := os.ReadFile(authority)
	if err != nil {
		log.Fatal(err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(issuer) {
		log.Fatalf("%s holds no certificate", authority)
	}
	own, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		log.Fatal(err)
	}
	return grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12}))
}

// askTogether prints the status of each number; those that are asked at the same time share calls.
func askTogether(client numcheckv1.CheckServiceClient, texts []string) {
	batches := Batches{ask: func(numbers []uint64) (*numcheckv1.CheckNumbersResponse, error) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		return client.CheckNumbers(ctx, &numcheckv1.CheckNumbersRequest{Numbers: numbers})
	}}
	answers := make([]Answer, len(texts))
	var all sync.WaitGroup
	for place, text := range texts {
		number, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			log.Fatal("a number has digits only, and its country's code first")
		}
		all.Add(1)
		go func(place int) {
			defer all.Done()
			answer, err := batches.Check(context.Background(), number)
			if err != nil {
				log.Fatal(err)
			}
			answers[place] = answer
		}(place)
	}
	all.Wait()
	for _, answer := range answers {
		fmt.Println(answer.Status, answer.OperatorID)
	}
}

// askText prints the node's reason to refuse a text.
func askText(client numcheckv1.CheckServiceClient, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	_, err := client.CheckNumber(ctx, &numcheckv1.CheckNumberRequest{Number: text})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fmt.Println(status.Code(err), info.Reason)
		}
	}
}
