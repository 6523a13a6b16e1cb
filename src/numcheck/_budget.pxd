# An Allowance as other extensions use it, which need no GIL as long as they hold the Allowance whose Ledger they use.

from libc.stdint cimport int64_t, uint64_t

from numcheck._fast cimport Cursor

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_rwlock_t:
        pass

cdef struct Numbers:             # a list that grows
    uint64_t* values
    size_t count
    size_t capacity

cdef struct Ledger:
    pthread_rwlock_t lock        # of all that follows
    bint unbounded               # nothing is asked of it
    uint64_t* slots              # the set: open addressing; 0 is free
    size_t capacity              # a power of two, at least four times `count`
    size_t count
    uint64_t seed, secret        # as numbers that share a slot would make each other slow
    int64_t left                 # new numbers that may be taken
    int64_t reserve              # and how many more the store may give,
    int64_t told_below           # and below how many of both the caller is told
    Numbers fresh                # taken, and not settled

cdef bint take_number(Ledger* ledger, uint64_t number) noexcept nogil
cdef bint take_request(Ledger* ledger, Cursor request) noexcept nogil
cdef int64_t few_left(Ledger* ledger) noexcept nogil

cdef class Allowance:
    cdef Ledger ledger
