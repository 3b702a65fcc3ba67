from heron.wading import wade
HeronWades = 'slowly'
