"""Time zones for display: what is stored is always UTC."""

from datetime import UTC, tzinfo

from tracer.errors import UsageError

__all__ = ["find_zone"]


def find_zone(name: str | None) -> tzinfo:
    """Return the zone with this IANA name, in any case; "local" is this computer's zone, None is UTC.

    Raises:
        UsageError: no such zone; the message names the closest one.
    """
    if name is None or name.strip().lower() in ("utc", "z"):
        return UTC
    import zoneinfo

    wanted = name.strip()
    if wanted.lower() == "local":
        from datetime import datetime

        return datetime.now(UTC).astimezone().tzinfo or UTC
    try:
        return zoneinfo.ZoneInfo(wanted)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    if wanted.lower() in known:
        return zoneinfo.ZoneInfo(known[wanted.lower()])
    raise UsageError(f"unknown time zone {name!r}; {_suggestion(wanted.lower(), known)}") from None


def _suggestion(wanted: str, known: dict[str, str]) -> str:
    from difflib import get_close_matches

    cities = {folded.rpartition("/")[2]: zone for folded, zone in sorted(known.items())}
    found = [known[match] for match in get_close_matches(wanted, known, n=1, cutoff=0.7)]
    city = get_close_matches(wanted.rpartition("/")[2].replace(" ", "_"), cities, n=1, cutoff=0.7)
    found += [cities[match] for match in city if cities[match] not in found]
    return f"did you mean {found[0]}?" if found else "names look like Europe/Berlin, America/New_York or UTC"
