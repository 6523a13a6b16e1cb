"""How much Hypothesis tries: `--hypothesis-profile=long` is what `make fuzz` asks for. A machine may be slow: no deadline."""

from hypothesis import settings

settings.register_profile("default", deadline=None)
# The same examples in every run, so that a change is refused for what it did and for nothing else.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("long", deadline=None, max_examples=20_000, print_blob=True)
# Hypothesis chooses between these two by the environment, and took them as they were before.
settings.load_profile("ci" if settings.get_current_profile_name() == "ci" else "default")
