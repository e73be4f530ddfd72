"""Time zones, of display and of logs: what is stored is always UTC."""

import re
from datetime import UTC, timedelta, timezone, tzinfo

from tracer.errors import UsageError

__all__ = ["find_log_zone", "find_zone"]


def find_zone(name: str | None) -> tzinfo:
    """Return the zone with this IANA name, in any case; "local" is this computer's zone, None is UTC.

    Raises:
        UsageError: no such zone; the message names the closest one.
    """
    if name is None or name.strip().lower() in ("utc", "z"):
        return UTC
    import zoneinfo

    text = name.strip()
    if text.lower() == "local":
        from datetime import datetime

        return datetime.now(UTC).astimezone().tzinfo or UTC
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zones = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    if text.lower() in zones:
        return zoneinfo.ZoneInfo(zones[text.lower()])
    raise UsageError(f"unknown time zone {name!r}; {_suggestion(text.lower(), zones)}") from None


def find_log_zone(name: str) -> tzinfo:
    """Return the zone of the times in a log: as `find_zone`, or a distance to UTC such as +02:00 or -5.

    Raises:
        UsageError: no such zone.
    """
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?([0-5]\d))?", name.strip(), re.IGNORECASE)
    if offset is None:
        return find_zone(name)
    distance = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
    if distance > timedelta(hours=14):
        raise UsageError(f"no time zone is {name} from UTC; the farthest are -12:00 and +14:00")
    return timezone(-distance if offset[1] == "-" else distance)


def _suggestion(text: str, zones: dict[str, str]) -> str:
    from difflib import get_close_matches

    cities = {folded.rpartition("/")[2]: zone for folded, zone in sorted(zones.items())}
    names = [zones[match] for match in get_close_matches(text, zones, n=1, cutoff=0.7)]
    city = get_close_matches(text.rpartition("/")[2].replace(" ", "_"), cities, n=1, cutoff=0.7)
    names += [cities[match] for match in city if cities[match] not in names]
    return f"did you mean {names[0]}?" if names else "names look like Europe/Berlin, America/New_York or UTC"
