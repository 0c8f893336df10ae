#!/usr/bin/env python3
"""Tells a chat when a freispace booking is made, changed or removed.

    [destination.booking-chat]
    type = "command"
    command = ["/usr/bin/python3", "/opt/wilco/handlers/booking_message.py"]
    environment = { CHAT_URL = { env = "CHAT_URL" }, STATE_DIR = "/var/lib/wilco/booking-chat" }

    [[route]]
    from = "freispace"
    events = ["booking.*"]
    to = ["booking-chat"]

CHAT_URL takes a POST of {"text": "…"}, as Slack and Mattermost do; without it the text is printed.
STATE_DIR (optional, must exist) gets an empty file for every event that was sent, so that none is sent
twice; old ones can be deleted. Python 3.9 or newer, standard library only.
"""

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

HEADLINES = {"booking.created": "New booking", "booking.updated": "Booking changed",
             "booking.deleted": "Booking removed"}
BAD_DATA, TRY_LATER, BAD_SETTING = 65, 75, 78  # 65 is dead at once, the others are retried
POST_TIMEOUT_SECONDS = 15
REFUSED_FOR_GOOD = {400, 413, 422}
# A name must become neither a mention nor a link. The U+200B after the @ is invisible.
HARMLESS = str.maketrans({"<": "‹", ">": "›", "@": "@\u200b"})


def finish(code, message):
    print(message, file=sys.stderr if code else sys.stdout)
    sys.exit(code)


def name_of(thing, key="name"):
    """One line of plain text, or "" for null. U+200D stays: it holds emoji together."""
    value = thing.get(key) if isinstance(thing, dict) else None
    kept = (c if c.isprintable() or c == "\u200d" else " " for c in str(value or "")[:200])
    return " ".join("".join(kept).split()).translate(HARMLESS)


def local(stamp, zone_name):
    """freispace sends UTC without an offset, and separately the zone to show it in."""
    moment = datetime.fromisoformat(stamp.rstrip("Z")).replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(ZoneInfo(zone_name)), zone_name
    except (KeyError, ValueError, TypeError, OSError):  # null, or unknown to this machine
        return moment, "UTC"


def day(moment):
    return f"{moment:%a} {moment.day} {moment:%b %Y}"


def when(booking):
    """All-day dates float: no zone may move them, and the end is the midnight after the last day."""
    try:
        if booking.get("all_day"):
            first, end = (datetime.fromisoformat(booking[key][:10]) for key in ("start", "end"))
            last = max(first, end - timedelta(days=1))
            return (day(first) if first == last else f"{day(first)} – {day(last)}") + ", all day"
        start, zone = local(booking["start"], booking.get("start_timezone"))
        end, end_zone = local(booking["end"], booking.get("end_timezone"))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return "no dates"
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{day(end)}, {end:%H:%M}"
    return f"{day(start)}, {start:%H:%M} – {until} ({' – '.join(dict.fromkeys([zone, end_zone]))})"


def compose(event, body):
    """The description is left out: it may hold HTML."""
    booking = body["data"]
    resources = booking.get("resources")
    suites = (resources.get("suites") if isinstance(resources, dict) else None) or []
    suites = ", ".join(filter(None, map(name_of, suites)))
    status, project = name_of(booking.get("status")), booking.get("project")
    project = " ".join(filter(None, [name_of(project, "number"), name_of(project)]))
    lines = [
        f"{HEADLINES[event]}: {name_of(booking) or '(no name)'}" + (f" [{status}]" if status else ""),
        when(booking),
        f"Suites: {suites}" if suites else "",
        f"Project: {project}" if project else "",
        "" if event == "booking.deleted" else name_of(body, "url"),
    ]
    return "\n".join(filter(None, lines))


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):  # urllib would follow with a GET, and the message be lost
        return None


def post(url, text):
    """No message here names the URL: whoever knows it can post."""
    try:
        sent = json.dumps({"text": text}).encode()
        request = urllib.request.Request(url, sent, {"Content-Type": "application/json"})
        urllib.request.build_opener(NoRedirect).open(request, timeout=POST_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        code = BAD_DATA if error.code in REFUSED_FOR_GOOD else TRY_LATER
        finish(code, f"the chat answered {error.code}")
    except (OSError, http.client.HTTPException) as error:
        finish(TRY_LATER, f"the chat cannot be reached: {type(error).__name__}")
    except ValueError:
        finish(BAD_SETTING, "CHAT_URL is no URL")


sys.stdout.reconfigure(encoding="utf-8")  # the clean environment names no locale
raw, event = sys.stdin.buffer.read(), os.environ.get("WILCO_EVENT", "")
if event not in HEADLINES:
    finish(0, f"nothing to do for {event}")
try:
    body = json.loads(raw)
    text = compose(event, body)
except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
    finish(BAD_DATA, f"the body is no freispace booking: {error!r}")

chat_url, state_dir = os.environ.get("CHAT_URL"), os.environ.get("STATE_DIR")
event_id = os.environ.get("WILCO_EVENT_ID", "")
told = Path(state_dir, event_id) if state_dir and re.fullmatch("[A-Za-z0-9_]+", event_id) else None
if told and not told.parent.is_dir():
    finish(BAD_SETTING, "STATE_DIR is no folder")
if told and told.exists():
    finish(0, "already told")
if chat_url:
    post(chat_url, text)
try:
    if told:
        told.touch()  # after the post: told twice is better than never told
except OSError as error:  # and no reason to post again
    print(f"not noted as told: {error}", file=sys.stderr)
finish(0, text)
