"""The numbers that a caller has asked about in a day, and how many new ones it may ask about before the store is asked.

Invariants:

* A request is taken whole or not at all: afterwards the set has every number of it, or nothing has changed.
* Each number that is taken and was not in the set takes one from `left`, which is never below 0; `fresh` has them in
  their order until they are settled.
* Readers share the lock, so that event loops which answer about known numbers do not wait for each other.

A number that no telephone can have (0, or of more than 15 digits) tells nothing, and is never in the set.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset

from numcheck._fast cimport Cursor, Field, STEP_FIELD, WIRE_FIXED64, WIRE_LENGTH, load64, next_field, prefetch

import os

cdef extern from * nogil:
    """
    #include <pthread.h>
    #include <stdint.h>
    static inline uint64_t numcheck_mix(uint64_t one, uint64_t other) {
        unsigned __int128 product = (unsigned __int128)one * other;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    /* A reader that comes later waits for a writer that waits: readers without a pause would keep writers out. */
    static int numcheck_lock_init(pthread_rwlock_t* lock) {
        pthread_rwlockattr_t fair;
        int failed;
        if (pthread_rwlockattr_init(&fair) != 0) return -1;
    #ifdef __GLIBC__
        pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    #endif
        failed = pthread_rwlock_init(lock, &fair);
        pthread_rwlockattr_destroy(&fair);
        return failed;
    }
    """
    uint64_t mix "numcheck_mix"(uint64_t one, uint64_t other)
    int numcheck_lock_init(pthread_rwlock_t* lock)
    int pthread_rwlock_rdlock(pthread_rwlock_t* lock)
    int pthread_rwlock_wrlock(pthread_rwlock_t* lock)
    int pthread_rwlock_unlock(pthread_rwlock_t* lock)
    int pthread_rwlock_destroy(pthread_rwlock_t* lock)

cdef enum:
    GROUP = 32                # numbers whose slots are under way together
    CAPACITY_MIN = 1_024
    NUMBER_SIZE = 8

cdef uint64_t NUMBER_MAX = 999_999_999_999_999
cdef int64_t UNTOLD = -1


# --- the set

cdef inline bint is_free(uint64_t number) noexcept nogil:
    """Return True if no telephone can have the number."""
    return number - 1 >= NUMBER_MAX


cdef inline size_t slot_of(const Ledger* ledger, uint64_t number) noexcept nogil:
    """Return where the search for a number begins: the secret keeps anybody from choosing numbers that collide."""
    return mix(number ^ ledger.seed, ledger.secret) & (ledger.capacity - 1)


cdef bint has_behind(const Ledger* ledger, size_t slot, uint64_t number) noexcept nogil:
    """Return whether the number is in the set, from a slot on."""
    while ledger.slots[slot] != 0:
        if ledger.slots[slot] == number:
            return True
        slot = (slot + 1) & (ledger.capacity - 1)
    return False


cdef inline bint has(const Ledger* ledger, uint64_t number) noexcept nogil:
    return has_behind(ledger, slot_of(ledger, number), number)


cdef void put(Ledger* ledger, uint64_t number) noexcept nogil:
    """Add a number that is not there; there is room."""
    cdef size_t slot = slot_of(ledger, number)
    while ledger.slots[slot] != 0:
        slot = (slot + 1) & (ledger.capacity - 1)
    ledger.slots[slot] = number
    ledger.count += 1


cdef bint make_room(Ledger* ledger, size_t more) noexcept nogil:
    """Have room for so many more; False, and nothing has changed, if there is no memory."""
    cdef Ledger larger
    cdef size_t slot
    if 4 * (ledger.count + more) <= ledger.capacity:
        return True
    larger.seed, larger.secret, larger.count, larger.capacity = ledger.seed, ledger.secret, 0, ledger.capacity
    while larger.capacity < 4 * (ledger.count + more):
        larger.capacity *= 2
    larger.slots = <uint64_t*>calloc(larger.capacity, sizeof(uint64_t))
    if larger.slots == NULL:
        return False
    for slot in range(ledger.capacity):
        if ledger.slots[slot] != 0:
            put(&larger, ledger.slots[slot])
    free(ledger.slots)
    ledger.slots, ledger.capacity = larger.slots, larger.capacity
    return True


cdef size_t count_missing(const Ledger* ledger, const uint8_t* numbers, size_t count) noexcept nogil:
    """Return how many of the numbers are not in the set, each as often as it stands there."""
    cdef size_t slots[GROUP]
    cdef size_t i, size, missing = 0
    cdef uint64_t number, seed = ledger.seed, secret = ledger.secret, mask = ledger.capacity - 1
    cdef const uint64_t* table = ledger.slots
    while count:
        size = min(count, <size_t>GROUP)
        for i in range(size):
            slots[i] = mix(load64(numbers + NUMBER_SIZE * i) ^ seed, secret) & mask
            prefetch(&table[slots[i]])
        for i in range(size):
            number = load64(numbers + NUMBER_SIZE * i)
            if table[slots[i]] != number:    # nearly all known ones are where their search begins
                missing += not is_free(number) and not has_behind(ledger, slots[i], number)
        numbers += NUMBER_SIZE * size
        count -= size
    return missing


# --- what is taken

cdef bint has_room(Numbers* list, size_t more) noexcept nogil:
    cdef size_t capacity = list.capacity or CAPACITY_MIN
    cdef uint64_t* values
    while capacity < list.count + more:
        capacity *= 2
    if capacity == list.capacity:
        return True
    values = <uint64_t*>realloc(list.values, capacity * sizeof(uint64_t))
    if values == NULL:
        return False
    list.values, list.capacity = values, capacity
    return True


cdef bint may_take(Ledger* ledger, size_t missing) noexcept nogil:
    """Return whether so many new numbers may be taken, and have room for them. The lock is held for writing."""
    return <int64_t>missing <= ledger.left and make_room(ledger, missing) and has_room(&ledger.fresh, missing)


cdef void take_each(Ledger* ledger, const uint8_t* numbers, size_t count) noexcept nogil:
    """Take numbers; `may_take` has said that they may be."""
    cdef size_t i
    cdef uint64_t number
    for i in range(count):
        number = load64(numbers + NUMBER_SIZE * i)
        if not is_free(number) and not has(ledger, number):
            put(ledger, number)
            ledger.left -= 1
            ledger.fresh.values[ledger.fresh.count] = number
            ledger.fresh.count += 1


cdef bint next_chunk(Cursor* cursor, Field* field) noexcept nogil:
    """Go on to the next numbers of a request that is well-formed; False if there are none."""
    while next_field(cursor, field) == STEP_FIELD:
        if field.number == 1 and (field.wire_type == WIRE_LENGTH or field.wire_type == WIRE_FIXED64):
            return True
    return False


cdef size_t count_missing_of(const Ledger* ledger, Cursor request) noexcept nogil:
    cdef Field field
    cdef size_t missing = 0
    while next_chunk(&request, &field):
        missing += count_missing(ledger, field.data, field.size // NUMBER_SIZE)
    return missing


cdef void take_each_of(Ledger* ledger, Cursor request) noexcept nogil:
    cdef Field field
    while next_chunk(&request, &field):
        take_each(ledger, field.data, field.size // NUMBER_SIZE)


cdef bint take_request(Ledger* ledger, Cursor request) noexcept nogil:
    """Take the numbers of a request that is well-formed: its field 1, fixed64, packed or not. False, and nothing has
    changed, if more of them are new than may be taken; a new number that stands there twice counts twice for that."""
    cdef bint taken
    pthread_rwlock_rdlock(&ledger.lock)
    taken = ledger.unbounded or count_missing_of(ledger, request) == 0
    pthread_rwlock_unlock(&ledger.lock)
    if taken:
        return True
    pthread_rwlock_wrlock(&ledger.lock)
    taken = may_take(ledger, count_missing_of(ledger, request))
    if taken:
        take_each_of(ledger, request)
    pthread_rwlock_unlock(&ledger.lock)
    return taken


cdef bint take_number(Ledger* ledger, uint64_t number) noexcept nogil:
    """Take one number; False, and nothing has changed, if it is new and none may be taken."""
    cdef bint taken
    pthread_rwlock_rdlock(&ledger.lock)
    taken = ledger.unbounded or is_free(number) or has(ledger, number)
    pthread_rwlock_unlock(&ledger.lock)
    if taken:
        return True
    pthread_rwlock_wrlock(&ledger.lock)
    taken = has(ledger, number) or may_take(ledger, 1)
    if taken:
        take_each(ledger, <const uint8_t*>&number, 1)
    pthread_rwlock_unlock(&ledger.lock)
    return taken


cdef int64_t few_left(Ledger* ledger) noexcept nogil:
    """Return how many new numbers are left, if the caller is to be told; else a number below 0."""
    cdef int64_t left
    pthread_rwlock_rdlock(&ledger.lock)
    left = ledger.left + ledger.reserve
    if ledger.unbounded or left >= ledger.told_below:
        left = UNTOLD
    pthread_rwlock_unlock(&ledger.lock)
    return left


# --- for Python

def numbers_of(bytes request not None):
    """Return the numbers of a well-formed request, eight bytes each: its field 1, fixed64, packed or not."""
    cdef Cursor cursor
    cdef Field field
    cdef list chunks = []
    cursor.at = <const uint8_t*>PyBytes_AS_STRING(request)
    cursor.end = cursor.at + PyBytes_GET_SIZE(request)
    while next_chunk(&cursor, &field):
        chunks.append(PyBytes_FromStringAndSize(<const char*>field.data, field.size))
    return b"".join(chunks)


cdef class Allowance:
    """The numbers that one caller has asked about since `begin`, and how many more it may. Safe from any thread.

    Numbers come and go as bytes, eight each, the lowest first."""

    def __cinit__(self):
        self.ledger.seed = int.from_bytes(os.urandom(8), "little")
        self.ledger.secret = int.from_bytes(os.urandom(8), "little") | 1
        self.ledger.capacity, self.ledger.unbounded = CAPACITY_MIN, True
        self.ledger.slots = <uint64_t*>calloc(CAPACITY_MIN, sizeof(uint64_t))
        if self.ledger.slots == NULL or numcheck_lock_init(&self.ledger.lock) != 0:
            raise MemoryError

    def __dealloc__(self):
        pthread_rwlock_destroy(&self.ledger.lock)
        free(self.ledger.slots)
        free(self.ledger.fresh.values)

    def begin(self, *, bint unbounded=False):
        """Forget all numbers; nothing is left, or, unbounded, everything may be asked about and nothing is noted."""
        cdef Ledger* ledger = &self.ledger
        cdef uint64_t* slots = <uint64_t*>calloc(CAPACITY_MIN, sizeof(uint64_t))
        if slots == NULL:
            raise MemoryError
        with nogil:
            pthread_rwlock_wrlock(&ledger.lock)
            free(ledger.slots)
            free(ledger.fresh.values)
            ledger.slots, ledger.capacity, ledger.count = slots, CAPACITY_MIN, 0
            memset(&ledger.fresh, 0, sizeof(Numbers))
            ledger.left = ledger.reserve = ledger.told_below = 0
            ledger.unbounded = unbounded
            pthread_rwlock_unlock(&ledger.lock)

    @property
    def unbounded(self):
        """True if nothing is noted."""
        return self.ledger.unbounded

    @property
    def left(self):
        """How many new numbers may be taken."""
        return self.ledger.left

    def give(self, int64_t count):
        """Let so many new numbers more be taken; fewer, if it is below 0, but never fewer than none. Return how many
        that changed."""
        cdef Ledger* ledger = &self.ledger
        with nogil:
            pthread_rwlock_wrlock(&ledger.lock)
            count = max(count, -ledger.left)
            ledger.left += count
            pthread_rwlock_unlock(&ledger.lock)
        return count

    def tell(self, *, int64_t reserve, int64_t below):
        """The store has so many more to give; the caller is told of what is left below so many."""
        cdef Ledger* ledger = &self.ledger
        with nogil:
            pthread_rwlock_wrlock(&ledger.lock)
            ledger.reserve, ledger.told_below = reserve, below
            pthread_rwlock_unlock(&ledger.lock)

    def few_left(self):
        """How many new numbers are left, here and in the store, if the caller is to be told; else None."""
        cdef int64_t left
        cdef Ledger* ledger = &self.ledger
        with nogil:
            left = few_left(ledger)
        return None if left < 0 else left

    def try_take(self, bytes numbers not None):
        """Take all of these numbers, or, if more of them are new than may be taken, none: False. A new number that
        stands there twice counts twice for that."""
        cdef Ledger* ledger = &self.ledger
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(numbers)
        cdef size_t count = PyBytes_GET_SIZE(numbers) // NUMBER_SIZE
        cdef bint taken
        with nogil:
            pthread_rwlock_wrlock(&ledger.lock)
            taken = ledger.unbounded or may_take(ledger, count_missing(ledger, start, count))
            if taken and not ledger.unbounded:
                take_each(ledger, start, count)
            pthread_rwlock_unlock(&ledger.lock)
        return taken

    def know(self, bytes numbers not None):
        """Have these numbers in the set; they take nothing."""
        cdef Ledger* ledger = &self.ledger
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(numbers)
        cdef size_t i, count = PyBytes_GET_SIZE(numbers) // NUMBER_SIZE
        cdef bint done
        with nogil:
            pthread_rwlock_wrlock(&ledger.lock)
            done = make_room(ledger, count)
            for i in range(count if done else 0):
                if not is_free(load64(start + NUMBER_SIZE * i)) and not has(ledger, load64(start + NUMBER_SIZE * i)):
                    put(ledger, load64(start + NUMBER_SIZE * i))
            pthread_rwlock_unlock(&ledger.lock)
        if not done:
            raise MemoryError

    def unknown(self, bytes numbers not None):
        """Return those of the numbers that are not in the set, once each."""
        cdef Ledger* ledger = &self.ledger
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(numbers)
        cdef size_t i, count = PyBytes_GET_SIZE(numbers) // NUMBER_SIZE
        cdef bytearray missing = bytearray(count)
        cdef uint8_t* is_missing = <uint8_t*>PyByteArray_AS_STRING(missing)
        with nogil:
            pthread_rwlock_rdlock(&ledger.lock)
            for i in range(count):
                is_missing[i] = count_missing(ledger, start + NUMBER_SIZE * i, 1)
            pthread_rwlock_unlock(&ledger.lock)
        return b"".join({numbers[NUMBER_SIZE * i : NUMBER_SIZE * (i + 1)]: None for i in range(count) if is_missing[i]})

    def fresh(self):
        """Return the numbers that were taken and not settled, in their order."""
        cdef Ledger* ledger = &self.ledger
        with nogil:
            pthread_rwlock_rdlock(&ledger.lock)
        try:
            return PyBytes_FromStringAndSize(<const char*>ledger.fresh.values, NUMBER_SIZE * ledger.fresh.count)
        finally:
            pthread_rwlock_unlock(&ledger.lock)

    def settle(self, size_t count):
        """The first so many of them are settled."""
        cdef Numbers* fresh = &self.ledger.fresh
        with nogil:
            pthread_rwlock_wrlock(&self.ledger.lock)
            count = min(count, fresh.count)
            fresh.count -= count
            if fresh.count:
                memmove(fresh.values, fresh.values + count, fresh.count * sizeof(uint64_t))
            pthread_rwlock_unlock(&self.ledger.lock)
