"""Each fault that check_docs.py claims to find is planted in a small tree and must be found."""

import pathlib
import stat
import sys
import tempfile
import unittest

import check_docs

SOUND = """# Title

See [the tour](docs/tour.md#one-step).

```sh
sh run.sh
cmake --preset quick
zeroth train --epochs 3
```
"""
TOUR = """# Tour

## One step

<!-- file: step.cpp -->
```cpp
int step() {
  return 1;
}
```
"""
PROGRAM = """#!/bin/sh
case "$*" in
  "train --help") echo "  --epochs N";;
  "--help") echo "train";;
  *) exit 2;;
esac
"""


class CheckDocs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        (self.root / "docs").mkdir()
        (self.root / "step.cpp").write_text("// A file.\nint step() {\n  return 1;\n}\n")
        (self.root / "run.sh").write_text("")
        (self.root / "CMakePresets.json").write_text('{"configurePresets": [{"name": "quick"}]}')
        program = self.root / "zeroth"
        program.write_text(PROGRAM)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        check_docs.help_of.__defaults__[0].clear()

    def faults(self, readme=SOUND, tour=TOUR):
        (self.root / "README.md").write_text(readme)
        (self.root / "docs/tour.md").write_text(tour)
        return "\n".join(check_docs.check(self.root, str(self.root / "zeroth")))

    def test_sound_tree(self):
        self.assertEqual(self.faults(), "")

    def test_planted_faults(self):
        for fault, readme, tour in [
            ("does not occur", SOUND, TOUR.replace("return 1", "return 2")),
            ("step.c does not exist", SOUND, TOUR.replace("step.cpp", "step.c")),
            ("C++ without", SOUND, TOUR.replace("<!-- file: step.cpp -->", "Text.")),
            ("never closed", SOUND, TOUR.rstrip()[:-3]),
            ("leads nowhere", SOUND.replace("tour.md", "tours.md"), TOUR),
            ("no heading", SOUND.replace("one-step", "two-steps"), TOUR),
            ("data/x.cpp does not exist", SOUND + "`data/x.cpp`", TOUR),
            ("walk.sh does not exist", SOUND.replace("run.sh", "walk.sh"), TOUR),
            ("no preset slow", SOUND.replace("quick", "slow"), TOUR),
            ("no command fly", SOUND.replace("zeroth train", "zeroth fly"), TOUR),
            ("has no --epoch", SOUND.replace("--epochs", "--epoch"), TOUR),
        ]:
            with self.subTest(fault):
                self.assertIn(fault, self.faults(readme, tour))


if __name__ == "__main__":
    sys.exit(unittest.main())
