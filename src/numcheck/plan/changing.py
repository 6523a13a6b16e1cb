"""The share of a series that an import may take from its operators: a damaged or older file takes much, the regulator
little.

Numbers that end and numbers that move to another operator count alike. A new spelling of an operator's name, or a tax
id that a file tells at last, moves nothing.
"""

CHANGED_SHARE = 10  # more than one number in so many waits for a word that it is meant


def changes_too_much(count: int, number_count: int) -> bool:
    """Return True if an import that takes so many numbers of a series of so many has to be forced."""
    return CHANGED_SHARE * count > number_count
