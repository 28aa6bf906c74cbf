"""benchmarks/occupancy.py: the arithmetic against figures worked out by hand, the pages' tables, the lack of nvcc."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import occupancy  # noqa: E402

ROWS = [
    ("copy_kernel<bf16>", 256, {"sm_80": (32, 0, 0, 64, "warps"), "sm_90a": (40, 0, 8, 48, "registers")}),
    ("copy_kernel<f16>", 256, {"sm_80": (32, 0, 0, 64, "warps"), "sm_90a": (32, 0, 0, 64, "warps")}),
]
PAGE = "Before\n\n<!-- occupancy: copy bf16 -->\n{}<!-- end of occupancy -->\n\nAfter\n"


class Occupancy(unittest.TestCase):
    def test_limits(self):
        for arch, threads, registers, shared, expected in [
            ("sm_80", 256, 32, 0, (64, "warps")),
            ("sm_80", 256, 33, 0, (48, "registers")),  # 40 after rounding: 12 warps a quarter
            ("sm_80", 256, 128, 0, (16, "registers")),
            ("sm_80", 256, 129, 0, (8, "registers")),  # 136: 3 warps a quarter, of which a block takes 2
            ("sm_90a", 1024, 64, 0, (32, "registers")),
            ("sm_90a", 128, 255, 0, (8, "registers")),
            ("sm_90a", 32, 16, 0, (32, "blocks")),
            ("sm_80", 64, 16, 11264, (26, "shared memory")),  # 13 blocks of 11 KB and 1 KB in 164 KB
            ("sm_90a", 64, 16, 11264, (38, "shared memory")),  # 19 in 228 KB
        ]:
            with self.subTest(arch=arch, threads=threads, registers=registers, shared=shared):
                self.assertEqual(occupancy.occupancy(arch, threads, registers, shared), expected)

    def test_names(self):
        mangled = "_ZN6zeroth11cuda_native41_GLOBAL__N__415b9d19_9_native_cu_d2f9a51820relu_backward_kernelINS_4bf16E"
        mangled += "Lb0EEEvPKT_S6_PS4_l"
        self.assertEqual(occupancy.short_names([mangled]), {mangled: "relu_backward_kernel<bf16, false>"})

    def test_a_page_is_rewritten_and_then_stays(self):
        text, made = occupancy.revised(PAGE.format("old\n"), lambda _: ROWS, "13.0", only_release=False)
        self.assertEqual(made, 1)
        self.assertIn("| `copy_kernel<bf16>` | 256 | 32 / 40 | 0 | 0 / 8 | 64 / 48 | warps / registers |\n", text)
        self.assertNotIn("copy_kernel<f16>", text)
        self.assertTrue(text.startswith("Before\n") and text.endswith("After\n"))
        self.assertEqual(occupancy.revised(text, lambda _: ROWS, "13.0", only_release=True), (text, 1))

    def test_a_wrong_figure_is_found_for_the_same_compiler_only(self):
        text, _ = occupancy.revised(PAGE.format(""), lambda _: ROWS, "13.0", only_release=False)
        wrong = text.replace("32 / 40", "32 / 41")
        self.assertNotEqual(wrong, text)
        self.assertEqual(occupancy.revised(wrong, lambda _: ROWS, "13.0", only_release=True), (text, 1))
        self.assertEqual(occupancy.revised(wrong, lambda _: ROWS, "12.4", only_release=True), (wrong, 0))

    def test_without_nvcc_it_is_skipped(self):
        with tempfile.TemporaryDirectory() as folder:
            script = [sys.executable, ROOT / "benchmarks" / "occupancy.py", "--nvcc", f"{folder}/nvcc"]
            done = subprocess.run(script, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, occupancy.NOTHING_TO_DO)
        self.assertIn("no nvcc", done.stdout)


if __name__ == "__main__":
    sys.exit(unittest.main())
