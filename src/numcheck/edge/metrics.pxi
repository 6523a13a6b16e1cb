# Counts what a loop does. Only the loop writes; others read each word whole, without a lock.

cdef void count(uint64_t* counter, uint64_t amount) noexcept nogil:
    store(counter, counter[0] + amount)


cdef void count_numbers(Stream* stream, uint64_t amount) noexcept nogil:
    """Count answered numbers, for the caller who was admitted last on the stream's connection."""
    cdef Connection* connection = stream.connection
    count(&connection.loop.metrics.numbers, amount)
    count(&connection.loop.metrics.asked[connection.asker], amount)


cdef int bucket_of(uint64_t took) noexcept nogil:
    """Return the bucket of the histograms that so many nanoseconds are counted in."""
    cdef int bucket = 0
    while bucket < BUCKET_COUNT and took > BUCKETS[bucket]:
        bucket += 1
    return bucket


cdef void count_call(const Stream* stream, int code) noexcept nogil:
    """Count a call that has ended with this status."""
    cdef Metrics* metrics = &stream.connection.loop.metrics
    cdef uint64_t took = numcheck_now() - stream.begun
    cdef int bucket = bucket_of(took), role = stream.connection.role
    count(&metrics.calls[<int>stream.method][code if 0 <= code < CODE_COUNT else <int>UNKNOWN_CODE], 1)
    count(&metrics.latencies[<int>stream.method][role][bucket], 1)
    count(&metrics.latency_sums[<int>stream.method][role], took)


cdef void count_wait(Ask* ask, uint64_t waited) noexcept nogil:
    """Count how long a call has waited in its line, as Python begins it. Any thread."""
    cdef Pipe* pipe = ask.pipe
    cdef int lane = <int>(ask.line.lane - pipe.lanes)
    add(&pipe.waits[lane][bucket_of(waited)], 1)
    add(&pipe.wait_sums[lane], waited)
