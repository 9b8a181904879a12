"""The text LightGBM keeps its trees in, checked in full before the library reads it.

LightGBM's parser trusts what it reads: counts that do not match send it past the end of arrays, and an error in
one of its threads ends the process. So nothing is left to it: every line is known, every array has the length its
tree says, every number parses, and the nodes of a tree form one tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

HEADER = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
    *("objective", "feature_names", "feature_infos", "tree_sizes"),
)
#: Arrays over the splits of a tree, and over its leaves, in the order they are written.
SPLITS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
INNER = ("internal_value", "internal_weight", "internal_count")
TREE = ("num_leaves", "num_cat", *SPLITS, *LEAVES, *INNER, "is_linear", "shrinkage")
WHOLE = {"split_feature", "decision_type", "left_child", "right_child", "leaf_count", "internal_count"}

#: Splits at most, far above LightGBM's own limit on leaves.
MOST_LEAVES = 1 << 17

_NUMBER = re.compile(r"-?\d{1,400}(\.\d{1,400})?(e[+-]?\d{1,3})?")
_INTEGER = re.compile(r"-?\d{1,10}")
_RANGE = re.compile(r"none|\[[^:\]]+:[^:\]]+\]")
_IMPORTANCE = re.compile(r"Column_\d+=\d+")
_PARAMETER = re.compile(r"\[[a-z0-9_]+: [^\[\]\r]*\]")

#: Numeric splits: bit 0 would make it categorical, bit 1 is the default side, bits 2-3 how missing values go.
DECISIONS = frozenset(range(0, 12, 2))


class TreeTextError(ValueError):
    """The text is not one LightGBM would have written; says where."""


def check_tree_text(text: str, pixels: int) -> int:
    """Return the number of trees in a regression model of `pixels` features as LightGBM writes it.

    Raises:
        TreeTextError: naming the first line or array that is missing, malformed or contradicts another.
    """
    # \d matches digits of every script, LightGBM reads those of one.
    if not text.isascii():
        raise TreeTextError("holds characters that LightGBM does not write")
    head, trees, tail = _sections(text)
    sizes = _check_header(head, pixels)
    if sum(sizes) != len(trees):
        raise TreeTextError(f"tree_sizes add up to {sum(sizes)} characters, the trees have {len(trees)}")
    start = 0
    for number, size in enumerate(sizes):
        _check_tree(trees[start : start + size], number, pixels)
        start += size
    _check_tail(tail)
    return len(sizes)


def _sections(text: str) -> tuple[list[str], str, list[str]]:
    """Return the lines before the trees, the text of the trees, and the lines after them."""
    start, end = text.find("\nTree=0\n"), text.find("\nend of trees\n")
    if not text.startswith("tree\n") or not 0 < start < end:
        raise TreeTextError("is not a LightGBM model with trees ('tree', 'Tree=0', 'end of trees')")
    head = text[: start + 1].split("\n")
    if head[-2:] != ["", ""]:
        raise TreeTextError("has no blank line before 'Tree=0'")
    return head[1:-2], text[start + 1 : end + 1], text[end + 1 :].split("\n")


def _check_header(lines: list[str], pixels: int) -> list[int]:
    """Check the lines before the trees; return the length of each tree's text."""
    values = _entries(lines, HEADER, "header")
    wanted = {
        "version": "v4",
        "num_class": "1",
        "num_tree_per_iteration": "1",
        "label_index": "0",
        "max_feature_idx": str(pixels - 1),
        "objective": "regression",
    }
    for name, value in wanted.items():
        if values[name] != value:
            raise TreeTextError(f"header: {name} is '{values[name][:40]}', expected '{value}'")
    for name in ("feature_names", "feature_infos"):
        if len(values[name].split(" ")) != pixels:
            raise TreeTextError(
                f"header: {name} has {len(values[name].split(' '))} entries for {pixels} pixels"
            )
    if values["feature_names"].split(" ") != [f"Column_{k}" for k in range(pixels)]:
        raise TreeTextError("header: feature_names are not Column_0, Column_1, ...")
    for info in values["feature_infos"].split(" "):
        if not _RANGE.fullmatch(info) or (info != "none" and not _numbers(info[1:-1].split(":"))):
            raise TreeTextError(f"header: feature_infos has '{info[:40]}', expected 'none' or '[low:high]'")
    sizes = values["tree_sizes"].split(" ")
    if not all(re.fullmatch(r"[1-9]\d{0,9}", size) for size in sizes):
        raise TreeTextError("header: tree_sizes are not positive whole numbers")
    return [int(size) for size in sizes]


def _check_tree(text: str, number: int, pixels: int) -> None:
    """Check the text of one tree, from 'Tree=' to its blank lines."""
    where = f"tree {number}"
    lines = text.split("\n")
    if lines[0] != f"Tree={number}" or lines[-3:] != ["", "", ""]:
        raise TreeTextError(f"{where}: does not begin with 'Tree={number}' and end where tree_sizes says")
    values = _entries(lines[1:-3], TREE, where)
    leaves = _integer(values["num_leaves"], 1, MOST_LEAVES, f"{where}: num_leaves")
    for name in ("num_cat", "is_linear"):
        if values[name] != "0":
            raise TreeTextError(f"{where}: {name} is '{values[name][:40]}', expected 0")
    if not _numbers([values["shrinkage"]]):
        raise TreeTextError(f"{where}: shrinkage '{values['shrinkage'][:40]}' is no number")
    arrays = {name: _array(values[name], name, leaves - 1, where) for name in (*SPLITS, *INNER)}
    arrays |= {name: _array(values[name], name, leaves, where) for name in LEAVES}
    for feature in arrays["split_feature"]:
        _integer(feature, 0, pixels - 1, f"{where}: split_feature")
    for decision in arrays["decision_type"]:
        if int(decision) not in DECISIONS:
            raise TreeTextError(f"{where}: decision_type {decision} is not that of a numeric split")
    _check_nodes([int(k) for k in arrays["left_child"]], [int(k) for k in arrays["right_child"]], where)


def _check_nodes(left: Sequence[int], right: Sequence[int], where: str) -> None:
    """Check that nodes 0..n and leaves -1..-(n + 1) form one binary tree with root 0."""
    # A stack, not recursion: a degenerate tree is deeper than Python allows.
    seen, waiting = set(), [0] if left else []
    while waiting:
        node = waiting.pop()
        for child in (left[node], right[node]):
            if child in seen or child == 0 or not -len(left) - 1 <= child < len(left):
                raise TreeTextError(f"{where}: child {child} of node {node} is none, or has two parents")
            seen.add(child)
            if child > 0:
                waiting.append(child)
    if len(seen) != 2 * len(left):
        raise TreeTextError(f"{where}: {2 * len(left) - len(seen)} nodes or leaves hang on no other")


def _check_tail(lines: list[str]) -> None:
    """Check the lines after the trees: importances and parameters, which are kept for the record."""
    rest = iter(lines)
    _expect(rest, ["end of trees", "", "feature_importances:"])
    _until(rest, _IMPORTANCE, "", "feature_importances")
    _expect(rest, ["parameters:"])
    _until(rest, _PARAMETER, "", "parameters")
    _expect(rest, ["end of parameters", "", "pandas_categorical:null", ""])
    if next(rest, None) is not None:
        raise TreeTextError("goes on after its end")


def _expect(lines: Iterator[str], wanted: Sequence[str]) -> None:
    for line in wanted:
        if (found := next(lines, "")) != line:
            raise TreeTextError(f"expected the line '{line}', got '{found[:40]}'")


def _until(lines: Iterator[str], form: re.Pattern[str], last: str, where: str) -> None:
    """Read lines of one form up to the line `last`."""
    for line in lines:
        if line == last:
            return
        if not form.fullmatch(line):
            raise TreeTextError(f"{where}: unknown line '{line[:40]}'")


def _entries(lines: list[str], names: Sequence[str], where: str) -> dict[str, str]:
    """Return 'name=value' lines as a dictionary; they must be exactly `names`, in that order."""
    found = [line.partition("=") for line in lines]
    for name, (key, equals, _) in zip(names, found, strict=False):
        if key != name or not equals:
            raise TreeTextError(f"{where}: expected the line '{name}=', got '{key[:40]}'")
    if len(found) != len(names):
        raise TreeTextError(f"{where}: {len(found)} lines, expected {len(names)}")
    return {key: value for key, _, value in found}


def _array(text: str, name: str, length: int, where: str) -> list[str]:
    """Return the numbers of an array; a tree without splits leaves out what is known of its one leaf."""
    values = text.split(" ") if text else []
    bare = length == 1 and name in ("leaf_weight", "leaf_count") and not values
    if len(values) != length and not bare:
        raise TreeTextError(f"{where}: {name} has {len(values)} entries, expected {length}")
    if not (_integers(values) if name in WHOLE else _numbers(values)):
        raise TreeTextError(f"{where}: {name} holds something that is no number")
    return values


def _integer(text: str, low: int, high: int, where: str) -> int:
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise TreeTextError(f"{where} is '{text[:40]}', expected {low} to {high}")
    return int(text)


def _integers(words: Sequence[str]) -> bool:
    return all(_INTEGER.fullmatch(word) and abs(int(word)) < 2**31 for word in words)


def _numbers(words: Sequence[str]) -> bool:
    return all(_NUMBER.fullmatch(word) and math.isfinite(float(word)) for word in words)
