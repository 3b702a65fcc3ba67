from csvhound.__main__ import main


def test_prints_the_dialect(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("name,age\nann,41\n")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == (
        "delimiter: ,\nquote:     none\nheader:    yes\ncolumns:   name, age\n")


def test_no_delimiter(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("name\n")
    assert main([str(path)]) == 1
    assert "no delimiter found" in capsys.readouterr().err


def test_usage():
    assert main([]) == 2
