import pytest

from spanset import SpanSet


def test_spans_that_touch_become_one():
    assert SpanSet([(1, 3), (3, 5)]).spans == [(1, 5)]


def test_a_span_over_several_swallows_them():
    assert SpanSet([(1, 2), (4, 5), (7, 9), (0, 8)]).spans == [(0, 9)]


@pytest.mark.parametrize("number, inside", [(0, False), (1, True), (2, True), (3, False), (7, True)])
def test_the_end_is_outside(number, inside):
    assert (number in SpanSet([(1, 3), (6, 8)])) is inside


def test_an_empty_span_is_refused():
    with pytest.raises(ValueError, match="empty span"):
        SpanSet([(4, 4)])


class TestRemove:
    def test_from_the_middle(self):
        spans = SpanSet([(0, 10)])
        spans.remove(3, 5)
        assert spans.spans == [(0, 3), (5, 10)]
        assert spans.gaps() == [(3, 5)]

    def test_of_everything(self):
        spans = SpanSet([(0, 10), (12, 14)])
        spans.remove(0, 20)
        assert len(spans) == 0
