from __future__ import annotations

from pathlib import Path

from nodes.agent.workloads.cards import device_request, has_cdi

ONE, TWO = "GPU-11111111-0000-0000-0000-000000000001", "GPU-11111111-0000-0000-0000-000000000002"


def test_cdi_is_used_when_the_daemon_has_found_every_card() -> None:
    found = [{"Source": "cdi", "ID": f"nvidia.com/gpu={each}"} for each in ("0", ONE, "all")]
    assert has_cdi({"DiscoveredDevices": found, "CDISpecDirs": ["/etc/cdi"]}, [ONE])
    assert not has_cdi({"DiscoveredDevices": found}, [ONE, TWO])
    assert not has_cdi({"DiscoveredDevices": [], "CDISpecDirs": ["/etc/cdi"]}, [ONE])


def test_folders_of_an_older_daemon_count_when_a_file_there_names_the_cards(tmp_path: Path) -> None:
    info = {"CDISpecDirs": [str(tmp_path), str(tmp_path / "none")]}
    assert not has_cdi(info, [ONE])
    (tmp_path / "other.json").write_text(f'{{"kind": "vendor.com/net", "devices": [{{"name": "{ONE}"}}]}}')
    assert not has_cdi(info, [ONE])
    (tmp_path / "nvidia.yaml").write_text(f"kind: nvidia.com/gpu\ndevices:\n- name: {ONE}\n")
    assert has_cdi(info, [ONE])
    assert not has_cdi(info, [ONE, TWO])


def test_without_cdi_the_nvidia_driver_is_asked() -> None:
    assert not has_cdi({"CDISpecDirs": None}, [ONE])
    assert device_request([ONE], cdi=False)["Driver"] == "nvidia"
    assert device_request([ONE], cdi=True) == {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={ONE}"]}
