# A histogram of durations in nanoseconds, log-linear as HdrHistogram's: up to 255 exactly, and beyond that each power of
# two in 128 equal parts, so that a duration is known to 0.8%. Its memory is fixed: 59 kB.

cdef size_t bucket_of(uint64_t value) noexcept nogil:
    cdef int shift
    if value < 2 * PARTS:
        return value
    shift = load_log2(value) - PART_BITS
    return (<size_t>shift << PART_BITS) + <size_t>(value >> shift)


cdef uint64_t last_of(size_t bucket) noexcept nogil:
    """Return the largest value that a bucket counts."""
    cdef int shift
    if bucket < 2 * PARTS:
        return bucket
    shift = <int>(bucket >> PART_BITS) - 1
    return (((bucket & (PARTS - 1)) + PARTS + 1) << shift) - 1


cdef void record(uint64_t* histogram, int64_t value) noexcept nogil:
    histogram[bucket_of(<uint64_t>max(value, 0))] += 1


cdef dict filled(const uint64_t* histogram):
    """Return the buckets that counted something: how often, by their largest value."""
    cdef int bucket
    return {last_of(bucket): histogram[bucket] for bucket in range(BUCKET_COUNT) if histogram[bucket]}
