"""What hxtorch measures to translate between chip and model, as it is here: nothing is measured.

Traces come in the model's unit, and a backend is told what its weights mean. So the results are
those of measurements of an ideal chip, computed from the model.
"""
