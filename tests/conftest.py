"""What holds for every test: no example of hypothesis fails because the machine was busy."""

from hypothesis import settings

# The default deadline of 200 ms an example measures the machine's load here, not our code.
settings.register_profile("dormouse", deadline=None)
settings.load_profile("dormouse")
