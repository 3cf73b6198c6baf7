"""Templates of other tools: their placeholders, named with what to write here instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import Fault, InputError, path_text

__all__ = ["FOREIGN", "field_named", "import_hints", "instead_of", "tool_of"]

FOREIGN = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\*\|[^|\n]{1,60}\|\*|%%\w{1,60}%%|\[\[[^\]\n]{1,60}\]\]|<%=?.*?%>|\$\{\w[\w.]*\}"
    r"|\{ ?(?:customer|event|offer|brand|sender)\.\w[^{}\n]{0,60}\}"
    r"|\{(?:FIRSTNAME|FIRST_NAME|LASTNAME|LAST_NAME|EMAIL|UNSUBSCRIBE|VORNAME|NACHNAME|ANREDE|PRENOM|NOM)\}"
)
"""What another tool would have filled in, or jinja that was left over."""

_ALL = re.compile(
    r"(?P<handlebars>\{\{\{.*?\}\}\}|\{\{\s*(?:[#/>^!&].*?|else(?:\s+if\b.*?)?|this\b.*?|\.\..*?)\}\})"
    r"|(?P<liquid>\{%-?\s*(?:assign|capture|endcapture|unless|endunless|elsif|case|when|endcase|comment|endcomment|"
    r"catalog_items|event_properties|abort_message|unsubscribe|web_view)\b.*?%\})"
    r"|(?P<colon>\{\{[^{}]*?\|\s*\w+\s*:[^{}]*?\}\})"
    r"|(?P<value>\{\{[^{}]*?\}\})"
    r"|(?P<mailchimp>\*\|[^|\n]{1,60}\|\*)"
    r"|(?P<salesforce>%%=?[^%\n]{1,80}=?%%)"
    r"|(?P<brackets>\[\[[^\]\n]{1,60}\]\])"
    r"|(?P<capitals>\{[A-Z][A-Z_]{2,30}\})"
    r"|(?P<erb><%=?.*?%>)"
    r"|(?P<freemarker>\$\{[^}\n]{1,60}\}|</?#\w[^>\n]*>)"
)
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'")
_TOOLS = {
    "handlebars": "handlebars",
    "liquid": "Liquid",
    "colon": "Liquid or Django",
    "value": "another tool's jinja",
    "mailchimp": "Mailchimp",
    "salesforce": "Salesforce",
    "brackets": "Mailjet or Maileon",
    "capitals": "CleverReach",
    "erb": "ERB",
    "freemarker": "FreeMarker",
}
_OURS = frozenset(
    (
        "customer",
        "event",
        "offer",
        "brand",
        "sender",
        "locale",
        "now",
        "unsubscribe",
        "words",
        "link",
        "loop",
        "subject",
    )
)
_FIELDS = {
    "fname": "first_name",
    "firstname": "first_name",
    "prenom": "first_name",
    "prénom": "first_name",
    "vorname": "first_name",
    "nachname": "last_name",
    "givenname": "first_name",
    "lname": "last_name",
    "lastname": "last_name",
    "nom": "last_name",
    "name": "first_name",
    "fullname": "first_name",
    "email": "email",
    "emailaddr": "email",
    "emailaddress": "email",
    "birthday": "birthday",
    "country": "country",
    "city": "city",
}
_LINKS = ("unsub", "optout", "desinscri", "desabonn", "abmeld", "removefromlist")


def instead_of(placeholder: str) -> str:
    """What to write here for a placeholder of another tool.

    >>> instead_of("*|FNAME|*")
    '{{ customer.first_name | default("") }}'
    >>> instead_of("{{#if order}}")
    '{% if event.order is defined %}'
    >>> instead_of("%%unsubscribe_url%%")
    '{{ unsubscribe }}'
    """
    words = placeholder.strip("{}*|%[]<>$= #\n\t-").strip()
    opened = re.match(r"\{\{\s*([#/^>!&])?\s*(else\b|if\b|unless\b|each\b|with\b)?\s*(.*?)\}\}$", placeholder, re.S)
    liquid = re.match(r"\{%-?\s*(\w+)\s*(.*?)-?%\}$", placeholder, re.S)
    mailchimp = re.match(r"\*\|(IF|ELSEIF|ELSE|END)(?::(\w*))?[^|]*\|\*$", placeholder)
    if placeholder.startswith("{{{"):
        return f"{_value(words)}; it is escaped, as it must be"
    if opened and (opened[1] or opened[2]):
        return _handlebars(opened[1] or "", opened[2] or "", opened[3].strip())
    if liquid:
        return _liquid(liquid[1], liquid[2].strip())
    if mailchimp:
        name = "customer." + _field(mailchimp[2] or "")
        kinds = {"IF": f"{{% if {name} is defined %}}", "ELSEIF": f"{{% elif {name} is defined %}}"}
        return kinds.get(mailchimp[1], "{% else %}" if mailchimp[1] == "ELSE" else "{% endif %}")
    filtered = re.fullmatch(r"(.+?)\|\s*(\w+)\s*:\s*(.+)", words, re.S)
    if filtered:
        value = _value(filtered[1].strip()).removesuffix(" }}").removesuffix(' | default("")')
        return f"{value} | {filtered[2]}({filtered[3].strip()}) }}}}"
    return _value(words)


def tool_of(tag: str) -> str | None:
    """The tool whose language a tag is in, where jinja cannot be meant.

    >>> tool_of("{{ first_name | default: 'you' }}"), tool_of("{% unless a %}"), tool_of("{{ first_name }}")
    ('Liquid or Django', 'Liquid', None)
    """
    match = _ALL.fullmatch(_STRING.sub("''", tag))
    return _TOOLS[str(match.lastgroup)] if match and match.lastgroup != "value" else None


def field_named(name: str) -> str | None:
    """The value of a customer that a bare name stands for in other tools.

    >>> field_named("first_name"), field_named("FNAME"), field_named("order")
    ('customer.first_name', 'customer.first_name', None)
    """
    field = _FIELDS.get(name.lower().replace("_", ""))
    return f"customer.{field}" if field else None


def import_hints(path: str | Path) -> tuple[Fault, ...]:
    """Everything in a template of another tool that means nothing here, each with its line and what to write instead.

    Args:
        path: an html, MJML or text file, in UTF-8.

    Returns:
        One fault per place: `found` is the placeholder, `allowed` what to write.

    Raises:
        InputError: the file cannot be read.
    """
    file = Path(path_text(path, name="import"))
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"import: {path} cannot be read as UTF-8: {fault}") from fault
    return tuple(_hints(text, file.name))


def _hints(text: str, file: str) -> Iterator[Fault]:
    for match in _ALL.finditer(text):
        kind = str(match.lastgroup)
        if kind == "value" and not _OURS.isdisjoint(re.findall(r"(?<![.\w])[a-z]\w*", match[0])):
            continue
        line = text.count("\n", 0, match.start()) + 1
        message = f"a placeholder of {_TOOLS[kind]}"
        yield Fault(message, file=file, line=line, found=match[0][:80], allowed=instead_of(match[0]))


def _handlebars(sign: str, word: str, rest: str) -> str:
    if sign == "/" and word:
        return "{% endfor %}" if word == "each" else "{% endif %}"
    if sign == "/":
        return f"{{% endif %}}, or {{% endfor %}} where {rest} is a list"
    if sign == ">":
        return f'{{% include "brand/_{rest.split(maxsplit=1)[0] if rest else "part"}.mjml" %}}'
    if sign == "!":
        return "{# a note #}"
    if word == "else":
        return f"{{% elif {_named(rest[3:])} is defined %}}" if rest.startswith("if ") else "{% else %}"
    if word == "each":
        return f"{{% for one in {_named(rest)} %}}"
    if word in ("if", "with"):
        return f"{{% if {_named(rest)} is defined %}}"
    if word == "unless" or sign == "^":
        return f"{{% if {_named(rest)} is not defined %}}"
    if sign == "#":
        return f"{{% if {_named(rest)} is defined %}}, or {{% for one in {_named(rest)} %}} where it is a list"
    return _value(rest)


def _liquid(word: str, rest: str) -> str:
    return {
        "assign": f"{{% set {rest} %}}",
        "elsif": f"{{% elif {rest} %}}",
        "unless": f"{{% if not {rest} %}}",
        "endunless": "{% endif %}",
        "when": "{% elif ... == ... %}",
        "case": "{% if ... == ... %}",
        "endcase": "{% endif %}",
        "comment": "{# ... #}",
        "endcomment": "{# ... #}",
        "unsubscribe": "{{ unsubscribe }}",
    }.get(word, "a value of customer, event or offer; there is nothing of the kind here")


def _value(words: str) -> str:
    plain = re.sub(r"[^a-z]", "", words.lower())
    if any(one in plain for one in _LINKS):
        return "{{ unsubscribe }}"
    if plain.startswith(("companyaddress", "listaddress", "memberaddr", "senderaddress")):
        return "{{ brand.address }}"
    if plain.startswith(("company", "listcompany", "membername")):
        return "{{ brand.name }}"
    if plain in ("archive", "webversion", "viewinbrowser", "mcpreviewtext", "mcsubject", "subject"):
        return "nothing: a mail has no page on the web here, its subject and preheader stand in the .txt"
    name = _named(words)
    return f'{{{{ {name} | default("") }}}}' if name.startswith("customer.") else f"{{{{ {name} }}}}"


def _named(words: str) -> str:
    path = [re.sub(r"\W+", "_", part.strip()).strip("_").lower() for part in words.split("|", maxsplit=1)[0].split(".")]
    path = [part for part in path if part] or ["value"]
    if path[0] in _OURS:
        return ".".join(path)
    if path[0] in ("this", "item"):
        return ".".join(["one", *path[1:]])
    if path[-1].replace("_", "") in _FIELDS:
        return "customer." + _field(path[-1])
    if path[0] in ("contact", "person", "profile", "user", "recipient", "subscriber", "attributes"):
        return "customer." + (path[-1] if len(path) > 1 else "first_name")
    return "event." + "_".join(path)


def _field(name: str) -> str:
    plain = name.lower().replace("_", "")
    return _FIELDS.get(plain, name.lower() or "first_name")
