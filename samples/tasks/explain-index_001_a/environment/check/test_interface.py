def ids(answer):
    return [t["id"] for t in answer[1]["tickets"]]


def test_life_of_a_ticket(desk):
    assert desk("PUT", "/tickets/a", {"queue": "q", "subject": "x", "due": 5})[0] == 201
    assert desk("PUT", "/tickets/a", {"queue": "q"})[0] == 409
    assert desk("PATCH", "/tickets/a", {"version": 1, "state": "closed", "due": None})[1]["version"] == 2
    assert desk("PATCH", "/tickets/a", {"version": 1, "state": "open"})[0] == 412
    assert desk.db.hgetall("ticket:a") == {"queue": "q", "state": "closed", "priority": "0", "subject": "x", "version": "2"}
    assert desk.db.ttl("ticket:a") > 29 * 24 * 3600
    assert desk("PATCH", "/tickets/a", {"version": 2, "state": "open"})[0] == 200
    assert desk.db.ttl("ticket:a") == -1
    assert desk("DELETE", "/tickets/a")[0] == 200
    assert desk("GET", "/tickets/a")[0] == 404


def test_order_and_pages(desk):
    for ident, more in {"c": {"due": 7}, "b": {"due": 7}, "a": {}, "d": {"priority": 1}, "e": {"state": "closed"}}.items():
        desk("PUT", "/tickets/" + ident, {"queue": "q", **more})
    assert ids(desk("GET", "/queues/q/tickets")) == ["d", "b", "c", "a"]
    first = desk("GET", "/queues/q/tickets?limit=2&state=open,closed")
    assert ids(first) == ["d", "b"]
    second = desk("GET", "/queues/q/tickets?limit=9&state=open,closed&after=" + first[1]["next"])
    assert ids(second) == ["c", "a", "e"] and second[1]["next"] is None
    assert desk("GET", "/queues/q/counts")[1] == {"open": 4, "pending": 0}


def test_claim(desk):
    desk("PUT", "/tickets/a", {"queue": "q"})
    desk("PUT", "/tickets/b", {"queue": "q", "priority": 3})
    assert desk("POST", "/queues/q/claim", {"agent": "kim"})[1]["id"] == "b"
    assert ids(desk("GET", "/queues/q/tickets?assignee=kim")) == ["b"]
    assert ids(desk("GET", "/queues/q/tickets?unassigned=1")) == ["a"]
