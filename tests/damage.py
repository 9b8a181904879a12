"""Damage behind a good checksum: every entry of a document or set of arrays deleted, or made another thing."""

import copy
import hashlib
import json

import numpy as np

from specvit.errors import DataError
from specvit.models.manifest import MANIFEST, checksum

#: What an entry is replaced by: other types, numbers no reader can mean, and text that is no number.
OTHERS = (None, -1, 10**12, 0.5, float("nan"), "seven", [], [1], {}, {"a": 1}, True)


def paths(value, path=()):
    """Yield the path of every entry in nested dictionaries and lists; of a list, the first and the last."""
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list) and value:
        children = list({0: value[0], len(value) - 1: value[-1]}.items())
    else:
        children = []
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


def damaged_documents(document, others=OTHERS):
    """Yield (what was done, document) with one entry deleted, added or made another thing."""
    for path in paths(document):
        *parents, last = path
        name = ".".join(map(str, path))
        changed = copy.deepcopy(document)
        del _at(changed, parents)[last]
        yield f"{name} deleted", changed
        for other in others:
            if not _same(_at(document, path), other):
                changed = copy.deepcopy(document)
                _at(changed, parents)[last] = other
                yield f"{name} = {other}", changed


def some_damaged_documents(document, count, seed=0):
    """Yield `count` of the damaged documents of a large one: making all would take minutes."""
    random, every = np.random.default_rng(seed), list(paths(document))
    for at in random.choice(len(every), count, replace=False):
        *parents, last = every[at]
        changed = copy.deepcopy(document)
        place, other = _at(changed, parents), random.integers(-1, len(OTHERS))
        if other < 0:
            del place[last]
        else:
            place[last] = OTHERS[other]
        yield f"{'.'.join(map(str, every[at]))}{' deleted' if other < 0 else f' = {OTHERS[other]}'}", changed


def damaged_arrays(arrays, texts=True, names=None):
    """Yield (what was done, arrays by name) with one array missing, of another type, shape or content."""
    for name in names or arrays:
        values = arrays[name]
        rest = {key: other for key, other in arrays.items() if key != name}
        yield f"{name} deleted", rest
        yield f"{name} renamed", rest | {f"{name}_": values}
        yield f"{name} one axis more", rest | {name: values[None]}
        yield f"{name} empty", rest | {name: values.reshape(-1)[:0]}
        if values.ndim:
            yield f"{name} doubled", rest | {name: np.concatenate([values, values])}
            yield f"{name} short", rest | {name: values[:-1]}
        yield f"{name} other bytes", rest | {name: np.frombuffer(b"\1\0\1" * 3, np.uint8)}
        if values.dtype.kind in "iuf":
            if texts:
                yield f"{name} as text", rest | {name: np.full(values.shape, "x")}
            yield f"{name} as truth", rest | {name: values.astype(bool)}
        if values.dtype.kind == "f" and values.size:
            other = np.float64 if values.dtype == np.float32 else np.float32
            yield f"{name} other float", rest | {name: values.astype(other)}
            for bad in (np.nan, np.inf):
                changed = values.copy()
                changed.reshape(-1)[-1] = bad
                yield f"{name} with {bad}", rest | {name: changed}


def _at(document, path):
    for key in path:
        document = document[key]
    return document


def _same(one, other):
    return json.dumps(one) == json.dumps(other)


def refusal(call, kind=DataError):
    """Return the one line with which `call` refuses, '' if it does not; any other error is a failure."""
    try:
        call()
    except kind as error:
        text = str(error)
    else:
        return ""
    assert "\n" not in text, text
    assert len(text) > 20, text
    return text


def reseal(folder, manifest, files):
    """Write a manifest and files with checksums that are right."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest = {**manifest, "files": {**manifest["files"], name: entry}}
    manifest = {name: value for name, value in manifest.items() if name != "sha256"}
    (folder / MANIFEST).write_text(json.dumps(manifest | {"sha256": checksum(manifest)}))


def copied(source, folder):
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return json.loads((source / MANIFEST).read_text())
