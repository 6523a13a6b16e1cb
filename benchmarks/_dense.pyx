# distutils: extra_compile_args = -O3
# cython: language_level=3, boundscheck=False, wraparound=False
"""The least that a lookup can be: one bit of one dense bitset, nothing about operators, nothing refused."""

from libc.stdint cimport uint8_t, uint64_t


def probe(const uint8_t[::1] bits, const uint64_t[::1] numbers, uint8_t[::1] answers, uint64_t first):
    """Put the bit of each number, counted from `first`, into `answers`."""
    cdef Py_ssize_t i
    cdef uint64_t place
    with nogil:
        for i in range(numbers.shape[0]):
            place = numbers[i] - first
            answers[i] = bits[place >> 3] >> (place & 7) & 1
