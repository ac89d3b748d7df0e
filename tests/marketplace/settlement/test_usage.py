from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.settlement.usage import ReportPoint, Usage, Window, usage_after

WINDOW = Window(start_ms=1_000, end_ms=60_000, gap_max_ms=15_000)
FOREVER = 10**9


def steady(count=10, *, run=1, first=1_000, step=5_000, healthy=(True,), running=True, seq=0):
    return [
        ReportPoint(run, seq + n, 50_000 + first + n * step, first + n * step, running, healthy) for n in range(count)
    ]


def gpu_ms(points, window=WINDOW):
    return usage_after(before=Usage(), points=points, window=window, freeze_before_ms=0).gpu_ms


def plain(points, window):
    """Every millisecond asked by itself: how many cards does the latest-ending pair that covers it prove?"""
    unique = {(p.run, p.seq): p for p in points}
    ordered = sorted(unique.values(), key=lambda p: (p.run, p.seq))
    total, taken = 0, set()
    pairs = [(a, b) for a, b in pairwise(ordered) if a.run == b.run]
    for a, b in sorted(pairs, key=lambda pair: (pair[1].observed_ms, pair[1].run, pair[1].seq)):
        length = min(b.mono_ms - a.mono_ms, b.observed_ms - a.observed_ms)
        if a.running and b.running and 0 < length <= window.gap_max_ms:
            latest = max(taken, default=-1)
            for ms in range(b.observed_ms - length, b.observed_ms):
                if window.start_ms <= ms < window.end_ms and ms > latest:
                    taken.add(ms)
                    total += sum(x and y for x, y in zip(a.healthy, b.healthy, strict=True))
    return total


points_lists = st.lists(
    st.builds(
        ReportPoint,
        run=st.integers(1, 2),
        seq=st.integers(0, 6),
        mono_ms=st.integers(0, 60),
        observed_ms=st.integers(0, 60),
        running=st.sampled_from([True, True, True, False]),
        healthy=st.tuples(st.booleans(), st.just(True)),
    ),
    max_size=10,
    unique_by=lambda point: (point.run, point.seq),
)
small = Window(start_ms=5, end_ms=50, gap_max_ms=20)


@settings(max_examples=500, deadline=None)
@given(points_lists)
def test_it_agrees_with_counting_every_millisecond(points):
    assert gpu_ms(points, small) == plain(points, small)


@settings(max_examples=300, deadline=None)
@given(points_lists, st.randoms(use_true_random=False))
def test_duplicates_and_disorder_change_nothing(points, shuffler):
    mixed = points * 2
    shuffler.shuffle(mixed)
    assert gpu_ms(mixed, small) == gpu_ms(points, small)


@settings(max_examples=300, deadline=None)
@given(points_lists)
def test_it_never_charges_more_than_the_window_or_the_server_clock_allow(points):
    seen = [point.observed_ms for point in points]
    longest = max(0, min(small.end_ms, max(seen, default=0)) - max(small.start_ms, min(seen, default=0)))
    assert gpu_ms(points, small) <= 2 * longest


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 8_000), min_size=2, max_size=40), st.data())
def test_freezing_on_the_way_gives_the_same_as_looking_once(steps, data):
    at, points = 0, []
    for n, step in enumerate(steps):
        at += step
        points.append(ReportPoint(1, n, at + 7, at, True, (True, True)))
    window = Window(start_ms=steps[0], end_ms=at, gap_max_ms=15_000)
    cuts = sorted(data.draw(st.lists(st.integers(0, at), max_size=5)))
    usage = Usage()
    for cut in cuts:
        usage = usage_after(before=usage, points=[p for p in points if p.observed_ms <= cut + 15_000],
                            window=window, freeze_before_ms=cut)  # fmt: skip
    usage = usage_after(before=usage, points=points, window=window, freeze_before_ms=FOREVER)
    assert usage.gpu_ms == usage.frozen_gpu_ms == gpu_ms(points, window)


@st.composite
def arrivals(draw):
    """Reports of one agent that is restarted now and then, and when each of them arrives: LATE at the latest."""
    found, at, seq, run = [], 0, 0, 1
    for step in draw(st.lists(st.integers(1, 9), min_size=1, max_size=30)):
        at += step
        if draw(st.integers(0, 9)) == 0:
            run, seq = run + 1, 0
        seq += draw(st.sampled_from([1, 1, 1, 1, 1, 2]))  # now and then one is lost for good
        healthy = (draw(st.sampled_from([True, True, False])), True)
        mono = draw(st.sampled_from([at, at, at - 1]))
        point = ReportPoint(run, seq, mono, at, draw(st.sampled_from([True, True, True, False])), healthy)
        found.append((at + draw(st.sampled_from([0, 0, 0, 3, LATE])), point))
    return found


LATE, GAP = 25, 20
GRACE = LATE + GAP  # what ends with the latest report may have begun a gap before it


@settings(max_examples=500, deadline=None)
@given(arrivals(), st.lists(st.integers(0, 320), max_size=12))
def test_however_late_within_the_grace_reports_come_ticks_end_where_one_look_does(found, ticks):
    window, usage = Window(start_ms=5, end_ms=250, gap_max_ms=GAP), Usage()
    for tick in [*sorted(ticks), FOREVER]:
        since = (window.start_ms if usage.frozen_through_ms is None else usage.frozen_through_ms) - window.gap_max_ms
        known = [point for arrived, point in found if arrived <= tick and point.observed_ms >= since]
        usage = usage_after(before=usage, points=known, window=window, freeze_before_ms=tick - GRACE)
    assert usage.gpu_ms == usage.frozen_gpu_ms == gpu_ms([point for _, point in found], window)


def test_what_reports_without_a_gap_tell_is_not_read_again():
    whole = usage_after(before=Usage(), points=steady(6), window=WINDOW, freeze_before_ms=0)
    assert (whole.frozen_through_ms, whole.frozen_gpu_ms) == (26_000, 25_000)
    gap = usage_after(
        before=Usage(), points=[*steady(3), *steady(3, seq=4, first=21_000)], window=WINDOW, freeze_before_ms=0
    )
    assert (gap.frozen_through_ms, gap.frozen_gpu_ms, gap.gpu_ms) == (1_000, 0, 30_000)


def test_steady_reports_prove_everything_between_the_first_and_the_last():
    assert gpu_ms(steady(10)) == 45_000
    assert gpu_ms(steady(10, healthy=(True, True))) == 90_000


def test_a_gap_longer_than_stale_proves_nothing():
    assert gpu_ms(steady(2) + steady(2, first=30_000, seq=10)) == 10_000


def test_a_restarted_agent_proves_nothing_across_the_restart():
    assert gpu_ms(steady(3) + steady(3, run=2, first=20_000)) == 20_000


def test_an_unhealthy_card_is_not_charged():
    assert gpu_ms(steady(10, healthy=(True, False))) == 45_000


def test_a_host_cannot_claim_more_than_has_passed_on_the_server():
    liar = [ReportPoint(1, n, n * 15_000, 1_000 + n * 1_000, True, (True,)) for n in range(5)]
    assert gpu_ms(liar) == 4_000


def test_nothing_is_charged_outside_the_window():
    assert gpu_ms(steady(40), Window(start_ms=3_000, end_ms=8_000, gap_max_ms=15_000)) == 5_000


def test_what_is_frozen_does_not_change_when_something_arrives_late():
    early = steady(3)
    late = steady(20)
    frozen = usage_after(before=Usage(), points=early, window=WINDOW, freeze_before_ms=FOREVER)
    assert usage_after(before=frozen, points=late, window=WINDOW, freeze_before_ms=FOREVER).gpu_ms == frozen.gpu_ms
