def test_same_name():
    pass
