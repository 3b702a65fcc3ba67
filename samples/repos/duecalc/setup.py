from setuptools import find_packages, setup

TESTS = ["pytest", "freezegun>=1.2"]

setup(
    name="duecalc",
    version="1.1.0",
    description="Due dates of invoices",
    packages=find_packages(exclude=["tests"]),
    install_requires=["python-dateutil"],
    extras_require={"testing": TESTS, "docs": ["sphinx"]},
)
