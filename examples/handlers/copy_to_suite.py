#!/usr/bin/env python3
"""Copies a project's files to the suites that a freispace booking names.

    [destination.copy]
    type = "command"
    command = ["/usr/bin/python3", "/opt/wilco/handlers/copy_to_suite.py"]
    environment = { PROJECTS_ROOT = "/srv/projects", SUITES_ROOT = "/srv/suites", PARTS = "footage,audio" }
    timeout = "6 h"

    [[route]]
    from = "freispace"
    events = ["booking.created", "booking.updated"]
    when = "data.project and data.resources.suites | length > 0"
    to = ["copy"]

The project's folder is the one under PROJECTS_ROOT whose .freispace.json has the project's id, as
provision_project.php writes it. It is copied to SUITES_ROOT/<suite>/<folder>, which must have a
folder for each suite, so that nothing is copied into an empty mount point. PARTS (optional) names the subfolders to copy.
Only what is new or changed is copied, each file under another name first, and nothing is ever
deleted, so that a second run does nothing. Python 3.9 or newer, standard library only.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

BAD_DATA, TRY_LATER, BAD_SETTING = 65, 75, 78  # 65 is dead at once, the others are retried


def finish(code, message):
    print(message, file=sys.stderr if code else sys.stdout)
    sys.exit(code)


def setting(name):
    folder = Path(os.environ.get(name, ""))
    if not os.environ.get(name) or not folder.is_dir():
        finish(BAD_SETTING, f"{name} is no folder")
    return folder


def folder_of(root, project_id):
    for marker in root.glob("*/.freispace.json"):
        try:
            if json.loads(marker.read_text(encoding="utf-8")).get("id") == project_id:
                return marker.parent
        except (ValueError, OSError, AttributeError):
            continue  # a marker that cannot be read is nobody's
    return None


def suite_folder(root, name):
    """A suite's name is untrusted: it must name a folder directly below the root, and no other."""
    safe = re.sub(r"[^\w .-]+", "-", str(name or ""), flags=re.UNICODE).strip(" .-")
    return root / safe if safe else None


def is_same(source, copy):
    try:
        there = copy.stat()
    except OSError:
        return False
    here = source.stat()
    return (here.st_size, int(here.st_mtime)) == (there.st_size, int(there.st_mtime))


def copy_tree(source, target):
    copied = 0
    for folder, names, files in os.walk(source):  # links to folders are not followed
        names[:] = [name for name in names if not name.startswith(".")]
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            here, there = Path(folder, name), place / name
            if name.startswith(".") or here.is_symlink() or is_same(here, there):
                continue
            half = there.with_name(f".{name}.part")
            shutil.copy2(here, half)
            os.replace(half, there)
            copied += 1
    return copied


sys.stdout.reconfigure(encoding="utf-8")  # the clean environment names no locale
try:
    booking = json.loads(sys.stdin.buffer.read())["data"]
    project_id = booking["project"]["id"]
    suites = [suite["name"] for suite in booking["resources"]["suites"]]
except (ValueError, TypeError, KeyError, RecursionError) as error:
    finish(BAD_DATA, f"no booking of a project in a suite: {error!r}")
projects, root = setting("PROJECTS_ROOT"), setting("SUITES_ROOT")
project = folder_of(projects, project_id)
if project is None:
    finish(TRY_LATER, f"no folder of project {project_id} yet")
parts = [part.strip() for part in os.environ.get("PARTS", "").split(",") if part.strip()]
try:
    for name in suites:
        suite = suite_folder(root, name)
        if suite is None or not suite.is_dir():
            finish(TRY_LATER, f"no folder for suite {name!r}; is it mounted?")
        copied = 0
        for source in [project / part for part in parts] or [project]:
            if source.is_dir():
                target = suite / project.name / source.relative_to(project)
                copied += copy_tree(source, target)
        print(f"{project.name}: {copied} files to {suite.name}")
except OSError as error:
    finish(TRY_LATER, f"the copy broke off: {error}")
