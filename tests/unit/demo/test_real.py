"""What the demo of real software believes of ``rpm -Va``."""

import unittest

from topcoat_demo.real import differences


class Verified(unittest.TestCase):
    def test_changed_configuration_is_allowed_and_nothing_else(self) -> None:
        report = (
            "S.5....T.  c /etc/passwd\n"
            ".M.......    /usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc\n"
            "missing   c /etc/redis/redis.conf\n"
            "missing     /usr/bin/redis-server\n"
            "missing   d /usr/share/doc/redis/README\n"
            "Unsatisfied dependencies for redis-7.0-1.x86_64:\n"
            "\n"
        )
        self.assertEqual(
            differences(report),
            [
                ".M.......    /usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc",
                "missing   c /etc/redis/redis.conf",
                "missing     /usr/bin/redis-server",
                "missing   d /usr/share/doc/redis/README",
                "Unsatisfied dependencies for redis-7.0-1.x86_64:",
            ],
        )


if __name__ == "__main__":
    unittest.main()
