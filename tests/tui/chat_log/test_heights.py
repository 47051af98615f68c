from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmchat.tui.widgets.chat_log.blocks import Heights

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=60)


def filled(sizes):
    heights = Heights()
    for size in sizes:
        heights.append(size)
    return heights


@given(SIZES, st.data())
def test_tops_are_the_sums_of_what_stands_above_after_any_changes(sizes, data):
    heights = filled(sizes)
    for _ in range(5):
        index = data.draw(st.integers(0, len(sizes) - 1))
        sizes[index] = heights[index] = data.draw(st.integers(0, 9))
        probe = data.draw(st.integers(0, len(sizes)))
        assert heights.top(probe) == sum(sizes[:probe])
    assert heights.total == sum(sizes)


@given(SIZES)
def test_every_line_is_found_in_the_element_that_holds_it(sizes):
    heights = filled(sizes)
    lines = [(index, line) for index, size in enumerate(sizes) for line in range(size)]
    assert [heights.find(y) for y in range(heights.total)] == lines


@given(SIZES, st.data())
def test_a_truncated_list_is_the_list_of_what_is_left(sizes, data):
    heights = filled(sizes)
    heights.top(data.draw(st.integers(0, len(sizes))))
    count = data.draw(st.integers(0, len(sizes)))
    heights.truncate(count)
    heights.append(7)
    assert heights.total == sum(sizes[:count]) + 7


def test_a_position_behind_the_end_belongs_to_the_last_element():
    assert filled([2, 3]).find(9) == (1, 7)
