class Refused(Exception):
    status = 400


class Invalid(Refused):
    status = 400


class Missing(Refused):
    status = 404


class Exists(Refused):
    status = 409


class Outdated(Refused):
    status = 412
