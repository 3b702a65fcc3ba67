from setuptools import Extension, setup

setup(packages=["saltpan"], ext_modules=[Extension("saltpan._pan", ["saltpan/_pan.c"], libraries=["brinepan"])])
