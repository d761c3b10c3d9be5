from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["framework", "framework.*"]), "framework.templates"],
    package_dir={"framework.templates": "templates"},  # the templates stand at the top and travel inside the package
    package_data={
        "framework": ["py.typed"],
        "framework.report": ["page.css", "page.html", "page.js"],
        "framework.templates": ["*/*"],
    },
)
