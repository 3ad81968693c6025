"""What happens to a sleeping network every so many steps: downscaling, scaling, excitability."""
