import re
import unicodedata

FIELDS = ("source", "given", "surname", "mail", "phone", "tax", "born")


def name(text):
    text = unicodedata.normalize("NFKD", text or "")
    text = "".join(char for char in text if not unicodedata.combining(char)).casefold()
    return " ".join(re.findall(r"[^\W_]+", text))


def mail(text):
    return (text or "").strip().casefold()


def phone(text):
    return re.sub(r"[^0-9]", "", text or "")


def plain(text):
    return (text or "").strip()


KINDS = {"given": name, "surname": name, "mail": mail, "phone": phone, "tax": plain, "born": plain}


def values(record):
    """The values of a record by which it is compared."""
    return {field: kind(record[field]) for field, kind in KINDS.items()}
