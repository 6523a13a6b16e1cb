"""How much of a series of the plan an import may end: a damaged or an older file ends much, the regulator little."""

SHRUNK_SHARE = 10  # more than one number in so many waits for a word that it is meant


def shrinks_too_much(removed_count: int, number_count: int) -> bool:
    """Whether an import that ends so many numbers of a series of so many has to be forced."""
    return SHRUNK_SHARE * removed_count > number_count
