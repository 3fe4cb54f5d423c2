#!/usr/bin/python3
"""Stands for a package manager: writes down what it was asked for."""

import json
import os

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(argument_spec={"name": {"type": "list", "elements": "str"}, "state": {"type": "str"}, "use": {"type": "str"}})
    with open(os.environ["RECORDED_PACKAGES"], "w", encoding="utf-8") as sink:
        json.dump(module.params["name"], sink)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
