"""The diagram of the pipeline: every box is reached, none hides another, and all words fit into theirs."""

from itertools import combinations

from specvit.paper.pipeline import ARROWS, HALF_HEIGHT, HALF_WIDTH, ORACLES, STEPS, draw_pipeline


def test_every_step_hangs_together_with_the_others():
    ends = {end for arrow in ARROWS for end in arrow}
    assert ends == set(STEPS)
    assert {end for _, end in ARROWS} == set(STEPS) - {"library"}


def test_estimators_are_handed_nothing_that_knows_the_world():
    before = {end: {start for start, stop in ARROWS if stop == end} for end in STEPS}
    assert before["estimators"] == {"seen"}
    assert not before["seen"] & set(ORACLES)


def test_boxes_lie_apart_and_inside():
    for one, other in combinations(STEPS.values(), 2):
        assert abs(one.x - other.x) > 2 * HALF_WIDTH or abs(one.y - other.y) > 2 * HALF_HEIGHT
    for step in STEPS.values():
        assert HALF_WIDTH <= step.x <= 1 - HALF_WIDTH
        assert HALF_HEIGHT <= step.y <= 1 - HALF_HEIGHT


def test_words_fit_into_their_boxes():
    figure = draw_pipeline()
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = {step.name: step for step in STEPS.values()} | {step.does: step for step in STEPS.values()}
    assert len(axes.texts) == len(boxes)
    for text in axes.texts:
        step, extent = boxes[text.get_text()], text.get_window_extent().transformed(axes.transData.inverted())
        assert step.x - HALF_WIDTH <= extent.x0 <= extent.x1 <= step.x + HALF_WIDTH, text.get_text()
        assert step.y - HALF_HEIGHT <= extent.y0 <= extent.y1 <= step.y + HALF_HEIGHT, text.get_text()
