"""What rpm leaves out, as the image's own macro files ask for it; that the rules are rpm's is shown by the functional equality tests."""

import unittest

from topcoat.synthesis import Filters, Refusal, read_filters


class Macros(unittest.TestCase):
    def read(self, **files: str) -> Filters:
        return read_filters({f"etc/rpm/macros.{name}": text.encode() for name, text in files.items()}, nodocs=False)

    def test_nothing_is_left_out_unless_asked(self) -> None:
        self.assertEqual(self.read(), Filters())
        self.assertEqual(self.read(a="%_install_langs all\n%_excludedocs 0\n"), Filters())
        self.assertEqual(self.read(a="%_install_langs de:all\n"), Filters())

    def test_the_last_file_counts(self) -> None:
        self.assertEqual(self.read(b="%_install_langs en:fr\n", a="%_install_langs de\n"), Filters(languages=("en", "fr")))
        etc = {"etc/rpm/macros": b"%_excludedocs 0", "usr/lib/rpm/macros.d/macros.z": b"%_excludedocs 1", "usr/share/macros": b"%_excludedocs 1"}
        self.assertEqual(read_filters(etc, nodocs=False), Filters())
        self.assertEqual(read_filters(etc, nodocs=True), Filters(nodocs=True))

    def test_numbers_are_read_as_rpm_reads_them(self) -> None:
        for text, expected in {"1": True, "2": True, "yes": True, "no": False, "-0": False, "x": False, "%{other}": False}.items():
            self.assertEqual(self.read(a=f"%_excludedocs {text}\n").nodocs, expected, text)

    def test_shared_folders_are_refused(self) -> None:
        with self.assertRaises(Refusal):
            self.read(a="%_netsharedpath /net\n")
