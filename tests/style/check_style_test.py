"""Each rule of check_style.py is broken in a small tree and must be reported."""

import pathlib
import sys
import tempfile
import unittest

import check_style


class CheckStyle(unittest.TestCase):
    def faults(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
            return "\n".join(check_style.check(pathlib.Path(folder))[0])

    def test_sound_file(self):
        self.assertEqual(self.faults("engine/a.h", '#pragma once\n#include "kernels/core/shape.h"\n'), "")

    def test_planted_faults(self):
        chevrons = "kernel" + "<" * 3 + "1, 32>>>();\n"
        for fault, name, text in [
            ("the limit", "models/long.cpp", "\n" * 501),
            ("may not include engine/", "kernels/up.cpp", '#include "engine/tape.h"\n'),
            ("may not include tests/", "data/up.cpp", '#include "tests/catch.h"\n'),
            ("not with", "kernels/relu/native.cu", chevrons),
            ("note to self", "apps/a.cpp", "// TO" + "DO: later\n"),
            ("without #pragma once", "data/a.h", "int x;\n"),
            ("cannot pass on", "tests/a.cpp", 'TEST_CASE("in (0, 1]", "[a]") {}\n'),
            ("cannot pass on", "tests/a.cpp", 'TEST_CASE("--flag is refused") {}\n'),
            ("no newline", "data/a.cpp", "int x;"),
            ("no sources", "elsewhere/a.cpp", ""),
        ]:
            with self.subTest(fault):
                self.assertIn(fault, self.faults(name, text))


if __name__ == "__main__":
    sys.exit(unittest.main())
