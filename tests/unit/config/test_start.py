from __future__ import annotations

import os
import socket
import stat

import pytest

from config import cli, embedded, launch, postgres, programs, running, screen
from config.programs import Listen
from config.trouble import Trouble

HERE = Listen("127.0.0.1", 8000, None)


@pytest.mark.parametrize(
    ("line", "needs"),
    [
        ("manage.py token issue demo", True),
        ("manage.py apply -f fairlane.yaml", True),
        ("manage.py migrate", True),
        ("manage.py token issue --help", False),
        ("manage.py serve", False),
        ("manage.py engine --port 0", False),
        ("manage.py backend test http://127.0.0.1:8100", False),
        ("manage.py fairness --workload overload", False),
        ("manage.py makemigrations --check", False),
        ("manage.py check", False),
        ("manage.py", False),
    ],
)
def test_only_commands_that_need_the_database_start_it(line, needs):
    assert cli.needs_database(line.split()) is needs


def test_a_port_that_is_taken_is_named_with_its_flag():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            Trouble, match=f"port {port}: Address already in use.*choose another with --console-port"
        ):
            launch.check_ports(Listen("127.0.0.1", 0, port))


def test_a_folder_without_a_database_is_not_taken_for_one(tmp_path):
    (tmp_path / "postgres").mkdir()

    with pytest.raises(Trouble, match=r"holds no database.*or move it away to start empty"):
        postgres.prepare(tmp_path)


def test_a_database_of_another_release_is_left_alone(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")

    with pytest.raises(Trouble, match=r"made by PostgreSQL 12, and this installation has \d+\. Dump it"):
        postgres.prepare(tmp_path)


def test_a_data_folder_that_cannot_be_made_is_named_with_the_mend(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Trouble, match=r"Cannot use .*file.*FAIRLANE_DATA_DIR"):
        embedded.make_folders(tmp_path / "file")


def test_the_data_folder_is_for_its_user_alone(tmp_path):
    embedded.make_folders(tmp_path / "var")

    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_a_deep_data_folder_has_its_sockets_where_the_kernel_takes_them(tmp_path):
    sockets = embedded.socket_dir(tmp_path / ("deep" * 30))

    assert len(os.fsencode(sockets / ".s.PGSQL.5432.lock")) <= embedded.SOCKET_PATH_BYTES
    assert sockets != embedded.socket_dir(tmp_path / ("deeq" * 30))


def test_a_serve_that_has_gone_is_not_found(tmp_path):
    embedded.make_folders(tmp_path)
    running.write(tmp_path, running.Running(2**22 + 1, "http://a", "http://b"))  # no Linux has such a pid

    assert running.read(tmp_path) is None


def test_a_serve_that_runs_is_found(tmp_path):
    embedded.make_folders(tmp_path)
    told = running.Running(os.getpid(), "http://a", "http://b")
    running.write(tmp_path, told)

    assert running.read(tmp_path) == told


def test_no_secret_is_on_any_command_line(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgres://u:swordfish@db/x")
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", "swordfish")
    all_programs = [
        *programs.web(HERE, 8),
        *programs.background(8),
        *programs.engines({"sim-0": 9000}),
        programs.embedded_postgres(tmp_path),
        programs.embedded_valkey(tmp_path),
    ]

    assert not [each for each in all_programs if "swordfish" in " ".join(each.command)]


def test_split_gives_each_role_its_process_and_port():
    web = programs.web(Listen("127.0.0.1", 8000, 8001), 8)

    assert [(each.env["FAIRLANE_ROLE"], each.command[each.command.index("--port") + 1]) for each in web] == [
        ("gateway", "8000"),
        ("console", "8001"),
    ]


def test_what_is_to_be_pasted_stands_at_the_beginning_of_its_line():
    shown = screen.text(HERE, screen.Welcome("admin", "/welcome/x/y/", demo=True, secret="fl_s", backends=2))

    assert "\nhttp://localhost:8000/welcome/x/y/\n" in shown
    assert "http://localhost:8000/api/v1/data-plane/docs\n" in shown
    assert '\ncurl -N http://localhost:8000/v1/chat/completions -H "Authorization: Bearer fl_s"' in shown
    python = shown[shown.index("from openai") :]
    compile(python, "screen", "exec")
    assert "fl_s" in python


def test_a_later_start_shows_no_secret_and_says_how_to_get_one():
    shown = screen.text(HERE, screen.Welcome("admin", None, demo=True, backends=2))

    assert "token issue demo" in shown
    assert "admin link admin" in shown
    assert "fl_" not in shown


def test_a_start_without_engines_says_what_to_do_next():
    assert "Add one in the console" in screen.text(HERE, screen.Welcome())
