"""Files of scores that anybody may have written: scores, or one sentence."""

from __future__ import annotations

import copy
import json
import tracemalloc

import numpy as np
import pytest

from disentangle.errors import InputError
from disentangle.evaluations import Score, load_scores, save_scores
from disentangle.viz.matrices import save_score_matrices, score_matrix
from disentangle.viz.scores import class_rows, explanations, score_table

RECORD = {
    "name": "mig", "value": 0.5, "parts": {"per_factor": [0.25, 0.75], "factors": [0, 2], "matrix": [[1.0, 2], [3, 4]]},
    "settings": {"bins": 20}, "higher_is_better": True, "seconds": 0.1, "chance": "nan", "interval": [0.4, 0.6],
}  # fmt: skip
DEEP: list = []
for _ in range(400):
    DEEP = [DEEP]


def test_the_record_itself():
    score = Score.from_dict(RECORD)
    assert score.interval == (0.4, 0.6)
    assert np.isnan(score.chance)
    np.testing.assert_array_equal(score.parts["matrix"], [[1, 2], [3, 4]])
    assert score_table({"mig": score}, ["a", "b", "c"])[1] == [
        ["mig", "0.500", "nan", "0.400 to 0.600", "0.250", "", "0.750"]
    ]


@pytest.mark.parametrize("key", RECORD)
@pytest.mark.parametrize(
    "value",
    [None, "x", "1", "\x1b[2J" * 10**6, [], {}, [1], [1, 2, 3], ["a", "b"], 10**400, DEEP, True],
    ids=["none", "text", "digit", "long", "list", "object", "one", "three", "texts", "huge", "deep", "true"],
)
def test_a_field_of_another_kind_is_refused_or_harmless(key, value, tmp_path):
    record = {**copy.deepcopy(RECORD), key: value}
    try:
        score = Score.from_dict(record)
    except InputError as error:
        said = str(error)
    else:
        harmless(score, tmp_path)
        return
    assert len(said) < 1000
    assert said.isprintable()


def harmless(score: Score, tmp_path, *, draw: bool = True) -> None:
    """Everything that is done with scores that were read."""
    header, rows = score_table({"a": score}, ["a"])
    assert all(len(row) == len(header) for row in rows)
    explanations({"a": score})
    if score_matrix(score) and draw:
        save_score_matrices({"a": score}, ["a"], tmp_path / "m.png")
    assert Score.from_json(score.to_json()).name == score.name


PARTS = {
    "negative factors": {"factors": [-1, 0]},
    "far factors": {"factors": [0, 10**12]},
    "factors that are no numbers": {"factors": ["a", "b"]},
    "factors in rows": {"factors": [[0, 1]]},
    "more factors than values": {"factors": [0, 1, 2]},
    "values in rows": {"per_factor": [[1], [2]]},
    "texts among values": {"per_factor": [1, "x"]},
    "ragged": {"matrix": [[1, 2], [3]]},
    "deep": {"matrix": DEEP},
    "not finite": {"matrix": [["nan", "inf"], [1, 2]]},
    "empty": {"matrix": [[], []], "factors": []},
    "mixed": {"matrix": [[True, 2], [3, {"a": 1}]]},
    "huge": {"matrix": [[10**300, 2], [3, 4]], "per_factor": [10**300, 1]},
    "one number": {"matrix": 3, "factors": 0},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("name", ["mig", "dci", "dci-es", "med"])
def test_hostile_parts(parts, name, tmp_path):
    record = copy.deepcopy(RECORD)
    record["name"] = name
    record["parts"] |= {"completeness": "x", "informativeness_test": [1], "size": None, **parts}
    harmless(Score.from_dict(record), tmp_path)


def test_one_long_text_among_many_numbers_is_no_table_of_long_texts():
    tracemalloc.start()
    try:
        score = Score.from_dict({**RECORD, "parts": {"a": ["x" * 10**6, *range(10_000)]}})
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    assert isinstance(score.parts["a"], list)


def test_very_deep_parts_are_refused():
    value: list = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(InputError, match="nested too deep"):
        Score.from_dict({**RECORD, "parts": {"a": value}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"[" * 10_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "holds no scores"),
        (b'{"format": "disentangle-scores", "version": 2}', "holds no scores"),
        (b'{"format": "disentangle-scores", "version": 1}', "no scores or no subject"),
        (b'{"format": "disentangle-scores", "version": 1, "scores": [], "subject": {}}', "no scores or no subject"),
        (b'{"format": "disentangle-scores", "version": 1, "scores": {}, "subject": []}', "no scores or no subject"),
        (b'{"format": "disentangle-scores", "version": 1, "scores": {"a": 3}, "subject": {}}', "not a score record"),
        (b'{"format": "disentangle-scores", "version": 1, "scores": {"a": {"\\u001b": 3}}, "subject": {}}', r"\\x1b"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        load_scores(tmp_path / "s.json")
    assert str(raised.value).isprintable()


def test_every_number_of_a_file_replaced(tmp_path):
    """Each value of a good file, one after the other, by each of some others."""
    score = Score.from_dict(RECORD)
    save_scores(tmp_path / "s.json", {"a": score}, subject={"factors": ["a", "b"]})
    good = json.loads((tmp_path / "s.json").read_text())

    def places(node, path=()):
        yield path
        for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            yield from places(value, (*path, key))

    refused = []
    for path in [path for path in places(good) if path]:
        for other in (None, "x", -1, 1e308, [], {}, [[]], True):
            record = copy.deepcopy(good)
            node = record
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = other
            (tmp_path / "b.json").write_text(json.dumps(record))
            try:
                scores, subject = load_scores(tmp_path / "b.json")
            except InputError as error:
                refused.append(str(error))
                continue
            assert isinstance(subject, dict)
            for found in scores.values():
                harmless(found, tmp_path, draw=False)
    assert len(refused) > 50
    assert all(line.isprintable() for line in refused)


def test_class_rows_of_other_lengths():
    parts = {"per_class": [0.5, 1.0], "points": [3, 0]}
    scores = {"accuracy/per-class": Score.from_dict({**RECORD, "name": "accuracy/per-class", "parts": parts})}
    assert class_rows(scores, ["a", "b"]) == [["a", "0.500", "3"], ["b", "", "0"]]
    with pytest.raises(InputError, match="expected as many of each"):
        class_rows(scores, ["a"])
