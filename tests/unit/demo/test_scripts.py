"""Maintainer scripts of Debian as scriptlets and attributes of an RPM; what is not understood is counted, never carried over."""

import unittest

from topcoat_demo.scripts import claims, translate

_OPENSTACK = """#!/bin/sh
set -e
### Start of included pkgos_func library
rm -rf /etc/everything
### End of included pkgos_func library
if [ "$1" = "configure" ] ; then
	pkgos_var_user_group nova /bin/sh
	pkgos_write_new_conf nova nova.conf
	chmod 0440 /etc/sudoers.d/nova-common
	su nova -s /bin/sh -c 'nova-manage db sync'
fi
# Automatically added by dh_installsystemd/13
if [ "$1" = "configure" ]; then
	deb-systemd-helper unmask 'nova-api.service' >/dev/null || true
fi
# End automatically added section
# Automatically added by dh_apparmor/3
apparmor_parser -r x
# End automatically added section
"""
_MEMCACHED = """#!/bin/sh
USER="memcache"
GROUP="memcache"
addgroup --system $GROUP >/dev/null
adduser \\
  --system --disabled-login --ingroup $GROUP \\
  --home /nonexistent --no-create-home --gecos "A server" --shell /bin/false \\
  $USER  >/dev/null
cp /usr/share/memcached/memcached.conf.default /etc/memcached.conf
install -d -o memcache -g memcache -m 0750 /var/lib/memcache
chown -R memcache:memcache /var/lib/memcache || true
chown memcache $SOMEWHERE
"""


class Scripts(unittest.TestCase):
    def test_accounts_configuration_and_units_of_a_service(self) -> None:
        made = translate("nova-common", {"postinst": _OPENSTACK}, {"/usr/share/nova-common/nova.conf": b"[DEFAULT]\n"})
        bodies = made.scriptlets()
        self.assertIn("getent passwd nova >/dev/null || useradd -r -M -g nova -d /var/lib/nova -s /bin/sh nova", bodies["pre"])
        self.assertIn("systemd-update-helper install-system-units nova-api.service || :", bodies["post"])
        self.assertIn("systemd-update-helper remove-system-units nova-api.service || :", bodies["preun"])
        self.assertIn("if [ $1 -ge 1 ]", bodies["postun"])
        self.assertEqual(made.copies["/etc/nova/nova.conf"][0], "/usr/share/nova-common/nova.conf")
        self.assertEqual((made.paths["/var/log/nova"].user, made.paths["/var/log/nova"].group), ("nova", "adm"))
        self.assertEqual(made.paths["/etc/sudoers.d/nova-common"].mode, 0o440)

    def test_what_is_not_understood_is_counted_and_not_carried_over(self) -> None:
        made = translate("nova-common", {"postinst": _OPENSTACK, "templates": "x"}, {"/usr/share/nova-common/nova.conf": b""})
        self.assertEqual(made.left, {"lines that people wrote": 1, "lines of dh_apparmor": 1, "questions (debconf)": 1})
        everything = "".join(made.scriptlets().values())
        self.assertNotIn("rm -rf", everything)
        self.assertNotIn("db sync", everything)
        self.assertNotIn("apparmor", everything)

    def test_plain_adduser_with_variables_and_continued_lines(self) -> None:
        made = translate("memcached", {"postinst": _MEMCACHED}, {"/usr/share/memcached/memcached.conf.default": b"-v\n"})
        self.assertEqual(made.users, {"memcache": ("memcache", "/nonexistent", "/bin/false")})
        self.assertEqual(made.groups, {"memcache": ""})
        self.assertEqual(made.copies["/etc/memcached.conf"][0], "/usr/share/memcached/memcached.conf.default")
        folder = made.paths["/var/lib/memcache"]
        self.assertEqual((folder.user, folder.group, folder.mode, folder.directory, folder.below), ("memcache", "memcache", 0o750, True, True))
        self.assertEqual(made.left, {"lines that people wrote": 1})

    def test_alternatives_are_set_at_installation_and_taken_back_at_removal(self) -> None:
        line = (
            "update-alternatives --install /usr/bin/vi vi /usr/bin/vim 30 --slave /usr/share/man/man1/vi.1.gz vi.1.gz /usr/share/man/man1/vim.1.gz\n"
        )
        bodies = translate("vim", {"postinst": line}, {}).scriptlets()
        self.assertIn("--install /usr/bin/vi vi /usr/bin/vim 30 --slave", bodies["post"])
        self.assertIn("if [ $1 -eq 0 ]; then\n    update-alternatives --quiet --log /dev/null --remove vi /usr/bin/vim || :\nfi", bodies["preun"])

    def test_capabilities_become_attributes(self) -> None:
        made = translate("iputils-ping", {"postinst": "setcap cap_net_raw+ep /bin/ping\n"}, {})
        self.assertEqual(made.capabilities, {"/bin/ping": "cap_net_raw+ep"})
        self.assertEqual(made.scriptlets(), {})

    def test_accounts_of_sysusers(self) -> None:
        text = b'# comment\ng render -\nu messagebus 101 "System bus" /run/dbus\nm messagebus render\n'
        body = translate("dbus", {}, {"/usr/lib/sysusers.d/dbus.conf": text}).scriptlets()["pre"]
        self.assertIn("useradd -r -M -g messagebus -d /run/dbus -s /usr/sbin/nologin messagebus", body)
        self.assertIn("usermod -a -G render messagebus", body)

    def test_temporary_files_give_directories_their_owner_in_the_package(self) -> None:
        script = (
            "# Automatically added by dh_installtmpfiles/13\n\tsystemd-tmpfiles --create polkitd.conf || true\n# End automatically added section\n"
        )
        text = b"# comment\nd\t/var/lib/polkit-1\t0700\tpolkitd\troot\t-\t-\nd /run/x 0755 - - -\nL /etc/mtab - - - - ../proc/self/mounts\n"
        made = translate("polkitd", {"postinst": script}, {"/usr/lib/tmpfiles.d/polkitd.conf": text})
        owned = made.paths["/var/lib/polkit-1"]
        self.assertEqual((owned.user, owned.group, owned.mode, owned.directory), ("polkitd", "root", 0o700, False))
        self.assertEqual((made.paths["/run/x"].user, made.paths["/run/x"].mode), (None, 0o755))
        self.assertNotIn("/etc/mtab", made.paths)

    def test_a_claim_is_what_scripts_decide_whatever_the_package_holds(self) -> None:
        made = claims("nova-common", {"postinst": "pkgos_var_user_group nova\npkgos_write_new_conf nova nova.conf\nmkdir -p /var/lib/plain\n"})
        self.assertEqual(sorted(made), ["/etc/nova", "/var/lib/nova", "/var/log/nova"])
        self.assertEqual((made["/etc/nova"].user, made["/etc/nova"].mode), ("nova", 0o750))

    def test_a_package_without_scripts_has_none(self) -> None:
        self.assertEqual(translate("x", {"control": "Package: x\n"}, {}).scriptlets(), {})


if __name__ == "__main__":
    unittest.main()
