"""What hxtorch measures to translate between chip and model."""
