"""Exports and audits of a standby: they say as of when it is, and never take what it lacks yet for what was lost."""

from tests.serving.command import Result, run

PLAN = "Код;От;До;Емкость;Оператор;Регион;ИНН\n{code};0000000;9999999;10000000;МТС;Москва;7740000076\n"


def test_standby_is_read_where_it_may_be_behind_and_that_is_said(pair, tmp_path):
    url = pair.primary.new_database()
    primary_only = {"NUMCHECK_DATABASE_URL": url}
    both = {**primary_only, "NUMCHECK_DATABASE_REPLICA_URL": pair.on_standby(url)}

    def numcheck(*arguments: object, env: dict[str, str]) -> Result:
        found = run(*arguments, "--data-dir", tmp_path / "var", env=env)
        assert found.status == 0, found.err
        return found

    def import_plan(code: int) -> None:
        file = tmp_path / "plan.csv"
        file.write_text(PLAN.format(code=code), encoding="utf-8")
        numcheck("plan", "import", file, env=primary_only)

    import_plan(916)
    pair.wait_for_replay()
    exported = numcheck("events", "export", env=both)
    assert "read from a standby, which has what was there at 20" in exported.err
    events = exported.out.splitlines()[:-1]
    assert "plan_imported" in events[-1]
    with pair.paused():
        import_plan(426)
        (tmp_path / "head.json").write_text(numcheck("events", "head", env=both).out)
        assert numcheck("events", "export", env=both).out.splitlines()[:-1] == events
        told = numcheck("events", "verify", "--head", tmp_path / "head.json", env=both)
        assert "the standby is behind the head that was handed out" in told.err
        assert "2 events are what was written" in told.out
        numcheck("callers", "add", "numcheck://auditor", "--role", "auditor", env=primary_only)
        told = numcheck("events", "verify", env=both)
        assert "the standby is behind the callers that this node has seen" in told.err
        assert "3 events are what was written" in told.out


def test_replica_of_nothing_is_refused(tmp_path):
    told = run("events", "export", "--data-dir", tmp_path, env={"NUMCHECK_DATABASE_REPLICA_URL": "postgresql://x/y"})
    assert told.status == 1
    assert "database_replica_url is a standby of database_url, which is not set" in told.err
