"""Spans against loops over milliseconds."""

from hypothesis import given
from hypothesis import strategies as st

from sandwiching.training.spans import Span, Spans, busy_seconds, chrome_trace

spans = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(1, 20)).map(
        lambda t: Span(t[0], "x", t[1] / 1000, (t[1] + t[2]) / 1000)
    ),
    max_size=8,
)


@given(spans)
def test_busy_is_the_union(recorded: list[Span]):
    for role in "ab":
        ticks = {
            tick
            for span in recorded
            if span.role == role
            for tick in range(round(1000 * span.start), round(1000 * span.end))
        }
        assert abs(busy_seconds(recorded).get(role, 0.0) - len(ticks) / 1000) < 1e-9


def test_what_is_cut_to_a_window():
    kept = Spans()
    kept.recorded += [Span("a", "x", 0.0, 2.0), Span("a", "y", 5.0, 6.0), Span("b", "z", 1.5, 9.0)]
    assert kept.within(1.0, 3.0) == [Span("a", "x", 1.0, 2.0), Span("b", "z", 1.5, 3.0)]


def test_a_span_is_kept_when_its_call_fails():
    kept = Spans()
    try:
        with kept.span("a", "x"):
            raise KeyError
    except KeyError:
        pass
    assert [span.name for span in kept.recorded] == ["x"]


def test_the_trace_has_a_row_a_role():
    trace = chrome_trace([Span("b", "x", 1.0, 1.5), Span("a", "y", 1.25, 2.0)], start=1.0)
    names = {event["args"]["name"]: event["tid"] for event in trace["traceEvents"] if event["ph"] == "M"}
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert names == {"a": 0, "b": 1}
    assert [(e["name"], e["tid"], e["ts"], e["dur"]) for e in events] == [("x", 1, 0.0, 5e5), ("y", 0, 2.5e5, 7.5e5)]
