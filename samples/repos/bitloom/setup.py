from setuptools import Extension, find_packages, setup

setup(packages=find_packages("src"), package_dir={"": "src"},
      ext_modules=[Extension("bitloom._bits", ["src/bitloom/_bits.c"])])
