"""Print the commands that README.md marks with `<!-- ci: NAME -->`, to be run as they are written.

usage: python3 readme_commands.py README.md NAME
"""

import re
import sys
from pathlib import Path

MARKED = r"<!-- ci: {name} -->\s*```\w+\n(.*?)```"


def marked(text: str, name: str) -> str:
    """All blocks of that name, in order."""
    blocks = re.findall(MARKED.format(name=re.escape(name)), text, flags=re.DOTALL)
    if not blocks:
        raise SystemExit(f"no block marked <!-- ci: {name} -->")
    return "".join(blocks)


if __name__ == "__main__":
    readme, name = sys.argv[1:]
    sys.stdout.write(marked(Path(readme).read_text(encoding="utf-8"), name))
