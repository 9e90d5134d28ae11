"""A run of `jaxbox compare`: which loss?

bootstrap     how sure an average precision is
ranking       what a comparison comes to: intervals, the table, the page and the picture
compare       from the trainings to the table
command_line  what the command line takes
"""
