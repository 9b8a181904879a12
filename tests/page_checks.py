"""What must hold of every HTML page that specvit writes: what a browser would complain of, fetch, or not find."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

VOID = {"meta", "img", "br", "link", "input", "hr"}
FETCHED = {"src", "href", "srcset", "action", "data", "poster"}


class Markup(HTMLParser):
    """The parts of a page that can be wrong.

    Args:
        text: of the page.
    """

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.fetched = [], [], [], []
        self.problems, self.metas, self.words, self.headings, self.styles = [], [], [], [], []
        self.feed(text)
        self.close()
        if self.open:
            self.problems.append(f"never closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if len(values) < len(attributes):
            self.problems.append(f"<{tag}> has an attribute twice")
        if tag == "script":
            self.problems.append("a script")
        for name, value in attributes:
            if name.startswith("on"):
                self.problems.append(f"inline handler {name}")
            if name in FETCHED:
                (self.links if tag == "a" else self.fetched).append(value)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "meta":
            self.metas.append(values)
        if tag == "img" and not values.get("alt"):
            self.problems.append("an image without words")
        if tag == "li" and (not self.open or self.open[-1] not in ("ul", "ol")):
            self.problems.append("an item outside a list")
        if tag in ("p", "ul", "figure", "table", "dl") and "p" in self.open:
            self.problems.append(f"<{tag}> within <p>")
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.styles.append(data)
        else:
            self.words.append(data)


def css_problems(text):
    """Return what is wrong with a style sheet: braces, or something fetched from elsewhere."""
    bare = re.sub(r"/\*.*?\*/|\"[^\"\n]*\"|'[^'\n]*'", "", text, flags=re.DOTALL)
    problems = ["something is imported"] if "@import" in bare or "url(" in bare else []
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return [*problems, "a brace closes nothing"]
    if depth:
        problems.append("a brace is never closed")
    # Every declaration of a block is `name: value`.
    for block in re.findall(r"\{([^{}]*)\}", bare):
        for declaration in filter(None, (part.strip() for part in block.split(";"))):
            if not re.fullmatch(r"[\w-]+\s*:\s*\S.*", declaration, flags=re.DOTALL):
                problems.append(f"no declaration: {declaration}")
    return problems


def page_problems(text):
    """Return what is wrong with a page as such."""
    page = Markup(text)
    problems = list(page.problems)
    if not text.lstrip().lower().startswith("<!doctype html>"):
        problems.append("no doctype")
    if len(set(page.ids)) < len(page.ids):
        problems.append(f"ids twice: {sorted({one for one in page.ids if page.ids.count(one) > 1})}")
    if not any(
        meta.get("name") == "viewport" and "width=device-width" in meta["content"] for meta in page.metas
    ):
        problems.append("no viewport")
    if page.headings[:1] != [1] or page.headings.count(1) != 1:
        problems.append("not one first heading")
    if any(after > before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False)):
        problems.append("a heading leaves out a level")
    for address in (*page.links, *page.fetched):
        if address is None or re.match(r"(?!data:)[a-z]+:|//|/", address):
            problems.append(f"leads outside: {address}")
    return problems + [problem for style in page.styles for problem in css_problems(style)]


def site_problems(folder):
    """Return what is wrong with a folder of pages: each page as such, and links that lead nowhere."""
    problems = []
    pages = {path: Markup(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(folder).as_posix()
        problems += [f"{where}: {problem}" for problem in page_problems(path.read_text(encoding="utf-8"))]
        for address in (*page.links, *page.fetched):
            if address.startswith("data:"):
                continue
            name, _, anchor = unquote(address).partition("#")
            target = (path.parent / name).resolve() if name else path.resolve()
            if not target.is_file():
                problems.append(f"{where}: {address} is not there")
            elif anchor and anchor not in Markup(target.read_text(encoding="utf-8")).ids:
                problems.append(f"{where}: {address} has no such place")
    for path in sorted(folder.rglob("*.css")):
        problems += [f"{path.name}: {problem}" for problem in css_problems(path.read_text(encoding="utf-8"))]
    return problems


def markdown_problems(folder):
    """Return the links of Markdown pages that lead nowhere."""
    problems = []
    for path in sorted(folder.rglob("*.md")):
        for address in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            name, _, anchor = address.partition("#")
            target = path.parent / name if name else path
            if not target.is_file():
                problems.append(f"{path.name}: {address} is not there")
            elif anchor and f'<a id="{anchor}"></a>' not in target.read_text(encoding="utf-8"):
                problems.append(f"{path.name}: {address} has no such place")
    return problems
