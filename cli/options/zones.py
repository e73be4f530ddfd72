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


def _suggestion(text: str, zones: dict[str, str]) -> str:
    from difflib import get_close_matches

    cities = {folded.rpartition("/")[2]: zone for folded, zone in sorted(zones.items())}
    names = [zones[match] for match in get_close_matches(text, zones, n=1, cutoff=0.7)]
    city = get_close_matches(text.rpartition("/")[2].replace(" ", "_"), cities, n=1, cutoff=0.7)
    names += [cities[match] for match in city if cities[match] not in names]
    return f"did you mean {names[0]}?" if names else "names look like Europe/Berlin, America/New_York or UTC"
