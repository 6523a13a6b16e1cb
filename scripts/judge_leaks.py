"""Fails if LeakSanitizer's reports name memory that the extensions themselves took and lost.

Python and other libraries keep much memory until the process ends. So a leak counts if the function that asked for the
memory, the first frame that is not the sanitizer's, is one of a sanitized extension, or of nghttp2, which serves them
alone.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LEAK = re.compile(r"^(?:Direct|Indirect) leak of .*(?:\n    #.*)+", re.M)
FRAME = re.compile(r"^    #\d+ \S+ in (\S+) (.*)$", re.M)


def leaks_of(report: str, extensions: str) -> Iterator[str]:
    """Yield the leaks in a report whose memory one of the extensions has asked for."""
    for leak in LEAK.findall(report):
        places = [place for _, place in FRAME.findall(leak) if "libasan" not in place and "/libsanitizer/" not in place]
        if places and any(name in places[0] for name in (extensions, "src/numcheck/_", "libnghttp2")):
            yield leak


def main(directory: Path, extensions: str) -> int:
    """Print the leaks; return 1 if there are any, or if no report was written, so that nothing was looked at."""
    reports = [path.read_text(errors="replace") for path in directory.glob("report.*")]
    found = {leak for report in reports for leak in leaks_of(report, extensions)}
    print(*sorted(found), f"{len(found)} leaks of ours in {len(reports)} reports", sep="\n")
    return 1 if found or not reports else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
