from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.agent.protocol import Health
from nodes.availability import (
    Availability,
    CardFacts,
    IdlePolicy,
    Sample,
    availability,
    learned_baseline,
)
from nodes.states import Availability as StoredAvailability

POLICY = IdlePolicy(idle_after_ms=300_000, heartbeat_ms=5_000, lost_after_ms=30_000)
FACTS = CardFacts(memory_total_mib=81_559, baseline_mib=4.0)
NOW = 1_000_000
QUIET = Sample(NOW, 0.0, 4.0, 0.0, 0)


def steady(count=62, **values):
    return [dataclasses.replace(QUIET, observed_ms=NOW - n * 5_000, **values) for n in range(count)]


def judge(samples, now_ms=NOW, **facts):
    return availability(samples, dataclasses.replace(FACTS, **facts), POLICY, now_ms=now_ms)


def newest(samples, **values):
    return [dataclasses.replace(samples[0], **values), *samples[1:]]


def test_a_card_that_was_quiet_for_the_whole_window_is_idle():
    assert judge(steady()).availability == Availability.IDLE


def test_both_lists_of_words_are_the_same():
    assert {each.value for each in Availability} == set(StoredAvailability.values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"owner_processes": 1.0}, "owner_process"),
        ({"memory_used_mib": 2_000.0}, "memory_in_use"),
        ({"memory_used_mib": None}, "memory_unknown"),
        ({"memory_used_mib": 700.0, "owner_processes": None}, "memory_in_use"),
        ({"utilisation_percent": 90.0}, "utilisation"),
        ({"owner_processes": None, "utilisation_percent": None}, "nothing_proves_idleness"),
        ({"health": int(Health.MIG_ENABLED)}, "mig_enabled"),
    ],
)
def test_one_busy_sample_ends_idleness_at_once(values, reason):
    verdict = judge(newest(steady(), **values))
    assert (verdict.availability, verdict.reasons) == (Availability.OWNER_USED, (reason,))


def test_after_use_the_whole_window_must_pass():
    samples = steady()
    samples[30] = dataclasses.replace(samples[30], owner_processes=1.0)
    assert judge(samples).reasons == ("not_idle_long_enough",)


def test_after_a_fault_the_whole_window_must_pass():
    samples = steady()
    samples[30] = dataclasses.replace(samples[30], health=int(Health.ECC_UNCORRECTED))
    assert judge(samples).reasons == ("not_healthy_long_enough",)


def test_a_card_given_back_clean_by_a_lease_is_idle_at_once():
    samples = steady()
    samples[3:] = [dataclasses.replace(each, memory_used_mib=70_000.0) for each in samples[3:]]
    assert judge(samples).availability == Availability.OWNER_USED
    assert judge(samples, free_since_ms=NOW - 12_000).availability == Availability.IDLE


def test_an_inference_server_at_zero_percent_is_not_idle():
    assert judge(steady(memory_used_mib=70_000.0)).availability == Availability.OWNER_USED


def test_a_few_mib_of_the_driver_are_idle():
    assert judge(steady(memory_used_mib=60.0)).availability == Availability.IDLE


def test_load_without_a_process_is_a_ghost_and_not_for_sale():
    verdict = judge(steady(utilisation_percent=100.0))
    assert (verdict.availability, verdict.reasons) == (Availability.GHOST, ("load_without_process",))


def test_rare_short_peaks_are_idle_and_frequent_ones_are_not():
    peaks = steady()
    for n in (5, 25):
        peaks[n] = dataclasses.replace(peaks[n], utilisation_percent=60.0)
    assert judge(peaks).availability == Availability.IDLE
    for n in range(0, 60, 6):
        peaks[n] = dataclasses.replace(peaks[n], utilisation_percent=60.0)
    assert judge(peaks).reasons == ("utilisation",)


@pytest.mark.parametrize(
    "flag", [each for each in Health if each not in {Health.LOST, Health.MIG_ENABLED, Health.PROCESSES_UNKNOWN}]
)
def test_every_health_flag_makes_it_unhealthy_even_while_leased(flag):
    assert judge(newest(steady(), health=int(flag)), is_leased=True).availability == Availability.UNHEALTHY


def test_a_lost_gpu_and_a_silent_node_are_lost():
    assert judge(newest(steady(), health=int(Health.LOST))).reasons == ("gpu_lost",)
    assert judge(steady(), now_ms=NOW + 30_001).reasons == ("no_reports",)
    assert judge([]).availability == Availability.LOST


def test_the_owners_process_on_a_leased_card_is_contention():
    assert judge(steady(memory_used_mib=9_000.0), is_leased=True).availability == Availability.LEASED
    contended = newest(steady(), owner_processes=2.0)
    assert judge(contended, is_leased=True).availability == Availability.CONTENDED


def test_draining_goes_before_idleness_but_not_before_a_lease():
    assert judge(steady(), is_draining=True).availability == Availability.DRAINING
    assert judge(steady(), is_draining=True, is_leased=True).availability == Availability.LEASED


def test_a_card_that_was_not_watched_long_enough_is_not_offered():
    assert judge(steady(20)).reasons == ("not_watched_long_enough",)
    gap = [each for each in steady() if not NOW - 100_000 < each.observed_ms < NOW - 60_000]
    assert judge(gap).reasons == ("not_watched_long_enough",)


def test_the_baseline_is_learned_only_while_nobody_is_on_the_card():
    assert learned_baseline(None, QUIET) == 4.0
    assert learned_baseline(4.0, dataclasses.replace(QUIET, memory_used_mib=9_000.0)) == 4.0
    assert learned_baseline(None, dataclasses.replace(QUIET, owner_processes=1.0)) is None


samples = st.lists(
    st.builds(
        Sample,
        observed_ms=st.integers(NOW - 400_000, NOW).map(lambda ms: ms - ms % 5_000),
        utilisation_percent=st.one_of(st.none(), st.sampled_from([0.0, 3.0, 100.0])),
        memory_used_mib=st.one_of(st.none(), st.sampled_from([4.0, 900.0])),
        owner_processes=st.one_of(st.none(), st.sampled_from([0.0, 0.0, 1.0])),
        health=st.sampled_from([0, 0, 0, int(Health.XID)]),
    ),
    max_size=80,
)


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(given_samples, shuffler):
    unique = list({each.observed_ms: each for each in given_samples}.values())
    before = judge(unique)
    shuffler.shuffle(unique)
    assert judge(unique) == before


@given(samples)
def test_idle_means_that_no_sample_of_the_window_says_otherwise(given_samples):
    unique = list({each.observed_ms: each for each in given_samples + steady()[::2]}.values())
    if judge(unique).availability == Availability.IDLE:
        window = [each for each in unique if each.observed_ms >= NOW - 300_000]
        assert all(not each.owner_processes and each.memory_used_mib is not None for each in window)
        assert len(window) >= 57
