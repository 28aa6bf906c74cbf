"""How the program starts: with no library of NVIDIA's among those it cannot do without, and with exit code 4 and one
line where a GPU is asked for that is not there.

    program_start.py ZEROTH
"""

import os
import re
import subprocess
import sys
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=300)


class Start(unittest.TestCase):
    def test_needs_no_library_of_nvidia(self):
        text = subprocess.run(["readelf", "-d", PROGRAM], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
        self.assertIn("libc.so.6", needed)
        self.assertEqual([name for name in needed if re.match(r"lib(cu|nccl|nv)(?!rl)", name)], [])

    def test_no_gpu_is_exit_code_4_and_one_line(self):
        if os.path.exists("/dev/nvidiactl"):
            self.skipTest("this machine has a GPU")
        done = run("train", "--max-steps", "1", "--data", "generated", "--device", "cuda")
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, r"no CUDA driver: install|has no CUDA: install")

    def test_info_says_what_is_missing(self):
        done = run("info")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"devices +cpu")
        if not os.path.exists("/dev/nvidiactl"):
            self.assertRegex(done.stdout, r"cuda +(this build of zeroth has no CUDA|no CUDA driver)")
        if "no CUDA:" not in done.stdout.split("processor")[0]:
            self.assertRegex(done.stdout, r"cuda +driver")
            for name in ["runtime", "cuDNN", "cuBLASLt", "NCCL"]:
                self.assertRegex(done.stdout, rf"\n +{name} ")


if __name__ == "__main__":
    unittest.main()
